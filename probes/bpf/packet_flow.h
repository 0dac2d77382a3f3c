/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * From a packet and its socket to a flow key.
 *
 * What a socket does not change in its life is found once and kept with it: a key takes five reads
 * of kernel memory.
 */
#ifndef FG_PACKET_FLOW_H
#define FG_PACKET_FLOW_H

#include "lost.h"
#include "process.h"

/* fg_key.role, beside enum fg_role: the flow is over TCP. */
#define FG_OVER_TCP 0x80

/* Kept with a socket; never changed once it is there, but for the process and the count. */
struct fg_socket {
	u8 remote[16];	 /* the peer whose slot is known */
	u8 bound_to[16]; /* address; zeros: any */
	u64 cgroup;
	u64 tenancy; /* slot and tenant, as in the index of UDP flows */
	u32 netns;
	u32 process; /* who sent first; 0: not wanted, or nobody yet */
	u32 filled;  /* 1: a peer is remembered, or about to be */
	u32 others;  /* packets of other peers */
	u16 remote_port;
	u8 bound; /* the application chose the port itself */
	u8 role;  /* enum fg_role, of the peer whose slot is known; 0: none is */
	u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct fg_socket);
} packet_sockets SEC(".maps");

/* The client's owner of a flow within a network namespace, by which the server's end finds it. */
struct fg_local {
	u32 netns;
	u16 client_port;
	u16 server_port;
	u32 over_tcp;
};

struct fg_local_owner {
	u64 cgroup;
	u32 process;
	u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct fg_local);
	__type(value, struct fg_local_owner);
} packet_locals SEC(".maps");

/* The kernel's own structure behind a socket: what the verifier hands out does not show it all. */
static __always_inline struct sock *kernel_sock(struct bpf_sock *sk)
{
	struct bpf_sock *volatile place = sk;
	u64 address = 0;

	bpf_probe_read_kernel(&address, sizeof(address), (void *)&place);
	return (struct sock *)address;
}

static __always_inline u32 netns_of(struct sock *sk)
{
	return BPF_CORE_READ(sk, __sk_common.skc_net.net, ns.inum);
}

/* What the socket is bound to, in the form of keys; zeros for any address. */
static __always_inline void bound_address(u8 *address, struct bpf_sock *sk)
{
	u32 *words = (u32 *)address;

	if (sk->family == AF_INET6) {
		words[0] = sk->src_ip6[0];
		words[1] = sk->src_ip6[1];
		words[2] = sk->src_ip6[2];
		words[3] = sk->src_ip6[3];
	} else if (sk->src_ip4) {
		mapped(address, sk->src_ip4);
	}
}

/* What a socket does not change. */
static __noinline void describe(struct fg_socket *socket, struct bpf_sock *sk)
{
	struct sock *kernel = kernel_sock(sk);

	socket->cgroup = BPF_CORE_READ(kernel, sk_cgrp_data.cgroup, kn, id);
	socket->netns = netns_of(kernel);
	bound_address(socket->bound_to, sk);
	socket->bound =
		!!(BPF_CORE_READ_BITFIELD_PROBED(kernel, sk_userlocks) & SOCK_BINDPORT_LOCK);
}

/* The socket's memory, made at its first packet. */
static __noinline struct fg_socket *socket_of(struct bpf_sock *sk, bool out)
{
	struct fg_socket *socket = bpf_sk_storage_get(&packet_sockets, sk, NULL, 0);
	struct fg_socket first = {};

	if (!socket) {
		describe(&first, sk);
		socket = bpf_sk_storage_get(&packet_sockets, sk, &first,
					    BPF_SK_STORAGE_GET_F_CREATE);
		/* Another CPU may have been faster. */
		if (!socket)
			socket = bpf_sk_storage_get(&packet_sockets, sk, NULL, 0);
		if (!socket) {
			lost(FG_LOST_SOCKET_MEMORY);
			return NULL;
		}
	}
	/* Only a sender runs in its own context. */
	if (out && !socket->process && wants_process(socket->cgroup))
		socket->process = intern_process(bpf_get_current_task_btf());
	return socket;
}

/* Sets the ends as the socket sees them: address translation on the way may show others. */
static __always_inline void set_ends(struct packet *packet, struct bpf_sock *sk)
{
	u32 *remote = (u32 *)packet->remote, last;

	packet->own_port = sk->src_port;
	if (sk->state != TCP_ESTABLISHED || !sk->dst_port)
		return;
	if (sk->family == AF_INET6) {
		remote[0] = sk->dst_ip6[0];
		remote[1] = sk->dst_ip6[1];
		remote[2] = sk->dst_ip6[2];
		last = sk->dst_ip6[3];
		/* Or the compiler would choose between the addresses of two fields. */
		asm volatile("" : "+r"(last));
		remote[3] = last;
	} else {
		mapped(packet->remote, sk->dst_ip4);
	}
	packet->remote_port = bpf_ntohs(sk->dst_port);
}

/* Makes the key of the flow that a packet belongs to, if its socket has this role. */
__noinline int flow_of(struct fg_key *key, const struct fg_socket *socket,
		       const struct packet *packet, u32 role)
{
	struct fg_local local = {};
	struct fg_local_owner *known;
	bool client = role == FG_CLIENT;

	if (!key || !socket || !packet)
		return 0;
	__builtin_memcpy(key->remote, packet->remote, 16);
	key->cgroup = socket->cgroup;
	key->peer_cgroup = 0;
	key->netns = socket->netns;
	key->process = client ? socket->process : 0;
	key->peer_process = 0;
	key->port = client ? packet->remote_port : packet->own_port;
	key->role = role | (packet->protocol == IPPROTO_TCP ? FG_OVER_TCP : 0);
	key->peer = FG_PEER_REMOTE;
	if (!packet->local)
		return 0;
	key->peer = FG_PEER_LOCAL;
	local.netns = socket->netns;
	local.over_tcp = packet->protocol == IPPROTO_TCP;
	local.client_port = client ? packet->own_port : packet->remote_port;
	local.server_port = key->port;
	if (client) {
		struct fg_local_owner owner = {.cgroup = key->cgroup, .process = key->process};

		if (packet->out)
			bpf_map_update_elem(&packet_locals, &local, &owner, BPF_ANY);
		return 0;
	}
	known = bpf_map_lookup_elem(&packet_locals, &local);
	if (known) {
		key->peer = FG_PEER_KNOWN;
		key->peer_cgroup = known->cgroup;
		key->peer_process = known->process;
	}
	/* The client's address is this host's. The own one tells which socket it was. */
	__builtin_memcpy(key->remote, packet->own, 16);
	return 0;
}

#endif
