/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Whose socket is it, where its cgroup does not say: on hybrid hosts every socket is in the root of
 * the v2 hierarchy, and listeners made by systemd for others are in its own. For those, the process
 * is noted when it opens or listens (the only state changes that run in the caller's context),
 * under the socket's address, until the socket is destroyed. Sockets whose cgroup says enough cost
 * nothing.
 */
#ifndef FG_TCP_OWNER_H
#define FG_TCP_OWNER_H

#include "lost.h"
#include "process.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, u64);
	__type(value, u32);
} sock_process SEC(".maps");

/*
 * A connection within this host, by which the server's end finds the client's owner. Noted when the
 * client's end is established, forgotten when the server's end is destroyed. Not an LRU: the owner
 * is part of the server's key, and a key that changes while its socket lives would count it twice.
 */
struct local_pair {
	u8 client[16];
	u8 server[16];
	u32 netns;
	u16 client_port;
	u16 server_port;
};

struct local_owner {
	u64 cgroup;
	u32 process;
	u32 pass; /* in which a walk saw the server's end, or which followed the start */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct local_pair);
	__type(value, struct local_owner);
} local_owners SEC(".maps");

u32 fg_pass;	       /* counted by user space */
u64 fg_local_owners;   /* entries */
u64 fg_sock_processes; /* entries */

static __always_inline void note_process(const struct sock *sk, struct task_struct *task)
{
	u64 address = (u64)sk;
	u32 id = intern_process(task);

	if (!id)
		return;
	if (!bpf_map_update_elem(&sock_process, &address, &id, BPF_NOEXIST))
		__sync_fetch_and_add(&fg_sock_processes, 1);
	else if (bpf_map_update_elem(&sock_process, &address, &id, BPF_EXIST))
		lost(FG_LOST_PROCESS_MAP_FULL);
}

static __always_inline u32 process_of(const void *sk)
{
	u64 address = (u64)sk;
	u32 *id = bpf_map_lookup_elem(&sock_process, &address);

	return id ? *id : 0;
}

static __always_inline void pair_of(struct local_pair *pair, struct tcp_sock *tp,
				    const struct fg_key *key, bool typed)
{
	u16 sport = bpf_ntohs(READ(typed, tp, inet_conn.icsk_inet.inet_sport));
	u16 dport = bpf_ntohs(COMMON(typed, tp, skc_dport));
	bool server = key->role == FG_SERVER;

	own_address(server ? pair->server : pair->client, tp, typed);
	__builtin_memcpy(server ? pair->client : pair->server, key->remote, sizeof(key->remote));
	pair->netns = key->netns;
	pair->client_port = server ? dport : sport;
	pair->server_port = server ? sport : dport;
}

static __always_inline void note_local_owner(struct tcp_sock *tp, const struct fg_key *key)
{
	struct local_owner owner = {
		.cgroup = key->cgroup,
		.process = key->process,
		.pass = fg_pass,
	};
	struct local_pair pair;

	pair_of(&pair, tp, key, true);
	if (!bpf_map_update_elem(&local_owners, &pair, &owner, BPF_NOEXIST))
		__sync_fetch_and_add(&fg_local_owners, 1);
	else if (bpf_map_update_elem(&local_owners, &pair, &owner, BPF_EXIST))
		lost(FG_LOST_LOCAL_OWNERS_FULL);
}

/* The server's end is destroyed: nobody asks any more. */
static __always_inline void forget_local_owner(struct tcp_sock *tp)
{
	struct fg_key key = {};
	struct local_pair pair;

	key_of(&key, tp, true);
	if (key.peer != FG_PEER_LOCAL)
		return;
	pair_of(&pair, tp, &key, true);
	if (!bpf_map_delete_elem(&local_owners, &pair))
		__sync_fetch_and_sub(&fg_local_owners, 1);
}

/* Completes a key with what only the maps know. */
static __always_inline void own(struct fg_key *key, struct tcp_sock *tp, bool typed)
{
	if (key->role == FG_CLIENT) {
		if (wants_process(key->cgroup))
			key->process = process_of(tp);
		if (fg_services && dials_service(key)) {
			u64 own[2];

			own_address((u8 *)own, tp, typed);
			mark_service(key, (u8 *)own,
				     bpf_ntohs(READ(typed, tp, inet_conn.icsk_inet.inet_sport)));
		}
	} else if (key->peer == FG_PEER_LOCAL) {
		struct local_pair pair;
		struct local_owner *owner;

		pair_of(&pair, tp, key, typed);
		owner = bpf_map_lookup_elem(&local_owners, &pair);
		if (owner) {
			owner->pass = fg_pass;
			key->peer = FG_PEER_KNOWN;
			key->peer_cgroup = owner->cgroup;
			key->peer_process = owner->process;
		}
		/* The client's address is this host's. The own one tells which listener it was. */
		own_address(key->remote, tp, typed);
	}
}

#endif
