/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Connections that dial a Service: network address translation sends each of them to a backend of
 * its own, which the client's socket does not know. Their keys carry the connection's own address
 * and port, by which user space finds the backend among the host's translations. All other
 * connections keep a key that they share.
 *
 * A key must not change while its socket lives; what user space does when an address comes to the
 * map is told in tcp/services.rs. No address ever leaves it.
 */
#ifndef FG_SERVICE_H
#define FG_SERVICE_H

/* There may be Services. */
const volatile bool fg_services;

struct service {
	u8 address[16];
	u16 port; /* host order */
	u16 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct service);
	__type(value, u8);
} services SEC(".maps");

/* One word for an address: of IPv4 addresses, each its own. The same as `digest` in services.rs. */
static __always_inline u64 digest(const u8 *address)
{
	const u64 *words = (const u64 *)address;

	return words[0] * 0x9e3779b97f4a7c15ull ^ words[1];
}

static __always_inline bool dials_service(const struct fg_key *key)
{
	struct service service = {.port = key->port};

	__builtin_memcpy(service.address, key->remote, sizeof(service.address));
	return bpf_map_lookup_elem(&services, &service);
}

/* Makes the key of a client that dialled a Service this connection's alone. */
static __always_inline void mark_service(struct fg_key *key, const u8 *own, u16 port)
{
	key->peer = FG_PEER_SERVICE;
	key->peer_cgroup = digest(own);
	key->peer_process = port;
}

#endif
