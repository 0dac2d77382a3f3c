//! From address, port, cgroup and network namespace to a name. Knows no kernel programs and no HTTP.
