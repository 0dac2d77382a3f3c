/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Adding up datagrams by flow. Each flow has a slot of an array, which user space reads through
 * shared memory, and each socket remembers the slot of one peer: the usual packet costs a
 * comparison and two additions, no hashing.
 *
 * User space takes slots back from flows that have gone quiet: it removes the key, then raises the
 * slot's tenant number, so that sockets which remember the slot look again.
 */
#ifndef FG_UDP_H
#define FG_UDP_H

#include "sums.h"

#define FG_UDP_SLOTS 65536

/* A flow's datagrams. Of a listener, `received_packets` are those there was no room for. */
struct fg_udp {
	__u64 sent_bytes;
	__u64 sent_packets;
	__u64 received_bytes;
	__u64 received_packets;
	__u64 tenant; /* how many flows had the slot before */
	/* Of the packets, those that were no sk_buff of their own, but behind the first in a batch.
	 */
	__u32 sent_joined;
	__u32 received_joined;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, FG_UDP_SLOTS);
	__type(key, u32);
	__type(value, struct fg_udp);
} udp_sums SEC(".maps");

/* The slot of each flow, and above it the tenant number it has with this flow. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, FG_UDP_SLOTS);
	__type(key, struct fg_key);
	__type(value, u64);
} udp_index SEC(".maps");

/* Slots that user space has taken back. */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, FG_UDP_SLOTS);
	__type(value, u32);
} udp_free SEC(".maps");

/* Sockets that serve, for user space to name them: by address, port, namespace and cgroup. */
struct fg_server {
	u8 address[16]; /* zeros: any */
	u64 cgroup;
	u32 netns;
	u16 port;
	u16 pad;
};

struct fg_serving {
	u64 since;   /* nanoseconds of the monotonic clock */
	u32 process; /* 0: unknown or not wanted */
	u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct fg_server);
	__type(value, struct fg_serving);
} udp_servers SEC(".maps");

u32 fg_udp_next;     /* the first slot that was never used */
u64 fg_udp_assigned; /* slots given out, those taken back included */
u64 fg_udp_noted;    /* changes of udp_servers */
u64 fg_udp_lost_bytes;

/* Until when a socket's first packet may not have been the first of its life. */
const volatile u64 fg_start_unseen;

static __always_inline u64 tenancy_of(u32 slot)
{
	struct fg_udp *sums = bpf_map_lookup_elem(&udp_sums, &slot);

	/* Never 0: that is what a socket without a slot remembers. */
	return sums ? (sums->tenant + 1) << 32 | slot : 0;
}

/* Gives a flow a slot; 0 if there is none left. */
static __always_inline u64 assign_slot(struct fg_key *key)
{
	u64 tenancy, *other;
	u32 slot;

	if (bpf_map_pop_elem(&udp_free, &slot)) {
		if (fg_udp_next >= FG_UDP_SLOTS) {
			lost(FG_LOST_UDP_FLOWS_FULL);
			return 0;
		}
		slot = __sync_fetch_and_add(&fg_udp_next, 1);
		if (slot >= FG_UDP_SLOTS) {
			lost(FG_LOST_UDP_FLOWS_FULL);
			return 0;
		}
	}
	tenancy = tenancy_of(slot);
	if (!bpf_map_update_elem(&udp_index, key, &tenancy, BPF_NOEXIST)) {
		__sync_fetch_and_add(&fg_udp_assigned, 1);
		return tenancy;
	}
	/* Another CPU was faster, or there is no memory. */
	bpf_map_push_elem(&udp_free, &slot, BPF_ANY);
	other = bpf_map_lookup_elem(&udp_index, key);
	if (other)
		return *other;
	lost(FG_LOST_UDP_FLOWS_FULL);
	return 0;
}

/* The sums of a slot, if it still is the flow's. */
static __always_inline struct fg_udp *sums_at(u64 tenancy)
{
	u32 slot = tenancy;
	struct fg_udp *sums = bpf_map_lookup_elem(&udp_sums, &slot);

	return sums && sums->tenant + 1 == tenancy >> 32 ? sums : NULL;
}

/* Which of two ports is the server's, by the kind of number: the lower kind. */
static __always_inline u32 kind_of(u16 port)
{
	return (port >= 1024) + (port >= 32768);
}

/* Client or server, by the first packet that a socket exchanges with a peer. */
static __always_inline u8 role_of_first(const struct fg_socket *socket, const struct packet *packet)
{
	u32 own = kind_of(packet->own_port), other = kind_of(packet->remote_port);

	if (bpf_ktime_get_ns() < fg_start_unseen) {
		if (!socket->bound)
			return FG_CLIENT;
		if (own != other)
			return own < other ? FG_SERVER : FG_CLIENT;
	}
	return packet->out ? FG_CLIENT : FG_SERVER;
}

static __always_inline void note_server(const struct fg_socket *socket, const struct packet *packet)
{
	struct fg_server server = {
		.cgroup = socket->cgroup,
		.netns = socket->netns,
		.port = packet->own_port,
	};
	struct fg_serving serving = {.process = socket->process}, *known;

	__builtin_memcpy(server.address, socket->bound_to, 16);
	known = bpf_map_lookup_elem(&udp_servers, &server);
	if (known && (known->process == serving.process || !serving.process))
		return;
	serving.since = bpf_ktime_get_ns();
	bpf_map_update_elem(&udp_servers, &server, &serving, BPF_ANY);
	__sync_fetch_and_add(&fg_udp_noted, 1);
}

/*
 * Remembers the packet's flow with its socket: the first one, and a newer one after 64 packets of
 * others, 128, 256 and so on, so that a server with many clients is not busy remembering.
 */
static __noinline void remember(struct fg_socket *socket, struct bpf_sock *sk,
				const struct packet *packet)
{
	struct fg_socket next;
	u32 others;

	if (!__sync_val_compare_and_swap(&socket->filled, 0, 1)) {
		__builtin_memcpy(socket->remote, packet->remote, 16);
		socket->remote_port = packet->remote_port;
		socket->tenancy = packet->tenancy;
		socket->role = packet->role;
		return;
	}
	others = __sync_fetch_and_add(&socket->others, 1) + 1;
	if (others < 64 || others & (others - 1))
		return;
	next = *socket;
	__builtin_memcpy(next.remote, packet->remote, 16);
	next.remote_port = packet->remote_port;
	next.tenancy = packet->tenancy;
	next.role = packet->role;
	/* Readers see the old one or the new one, never a mixture. */
	if (!bpf_sk_storage_delete(&packet_sockets, sk))
		bpf_sk_storage_get(&packet_sockets, sk, &next, BPF_SK_STORAGE_GET_F_CREATE);
}

/* Finds the flow that a packet belongs to: sets its tenancy, and the role of its socket. */
__noinline int find_flow(struct fg_socket *socket, struct packet *packet)
{
	struct fg_key key;
	u64 *known;

	if (!socket || !packet)
		return 0;
	if (!packet->role) {
		/* Whoever was the server of this flow, or its client, goes on being it. */
		flow_of(&key, socket, packet, FG_SERVER);
		known = bpf_map_lookup_elem(&udp_index, &key);
		if (known) {
			packet->role = FG_SERVER;
			packet->tenancy = *known;
			goto found;
		}
		flow_of(&key, socket, packet, FG_CLIENT);
		known = bpf_map_lookup_elem(&udp_index, &key);
		if (known) {
			packet->role = FG_CLIENT;
			packet->tenancy = *known;
			goto found;
		}
		packet->role = role_of_first(socket, packet);
	}
	flow_of(&key, socket, packet, packet->role);
	known = bpf_map_lookup_elem(&udp_index, &key);
	packet->tenancy = known ? *known : assign_slot(&key);
found:
	if (packet->role == FG_SERVER)
		note_server(socket, packet);
	return 0;
}

/* Adds a packet of `bytes` of payload, which may be several datagrams. */
static __always_inline void add_datagrams(struct fg_udp *sums, const struct __sk_buff *skb,
					  u64 bytes, bool out)
{
	u32 size = skb->gso_size;
	u64 packets = size && bytes > size ? (bytes + size - 1) / size : 1;

	if (out) {
		add(&sums->sent_bytes, bytes);
		__sync_fetch_and_add(&sums->sent_packets, packets);
		if (packets > 1)
			__sync_fetch_and_add(&sums->sent_joined, (u32)packets - 1);
	} else {
		add(&sums->received_bytes, bytes);
		__sync_fetch_and_add(&sums->received_packets, packets);
		if (packets > 1)
			__sync_fetch_and_add(&sums->received_joined, (u32)packets - 1);
	}
}

/* Counts a packet. Its role, if there is one, is what the payload says. */
static __always_inline void count_udp(struct __sk_buff *skb, struct bpf_sock *sk,
				      struct fg_socket *socket, struct packet *packet)
{
	u32 head = packet->transport + UDP_HEADER;
	u64 bytes = packet->end > head ? packet->end - head : 0;
	struct fg_udp *sums = NULL;

	if (socket->role && (!packet->role || packet->role == socket->role) &&
	    socket->remote_port == packet->remote_port &&
	    same_address(socket->remote, packet->remote))
		sums = sums_at(socket->tenancy);
	if (!sums) {
		find_flow(socket, packet);
		sums = sums_at(packet->tenancy);
		if (!sums) {
			__sync_fetch_and_add(&fg_udp_lost_bytes, bytes);
			return;
		}
		remember(socket, sk, packet);
	}
	add_datagrams(sums, skb, bytes, packet->out);
}

/*
 * Counts the usual packet: its headers are plain and in reach at once, and its socket remembers its
 * flow. False, and nothing is done, if it is another, or may be DNS. Saves copying the headers and
 * describing the packet.
 */
static __always_inline bool count_usual(struct __sk_buff *skb, bool out)
{
	const u8 *begin = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct packet packet = {.out = out};
	struct fg_socket *socket;
	struct fg_udp *sums;
	struct bpf_sock *sk;
	u32 said, head;
	u64 bytes;

	if (begin + IPV4_HEADER + UDP_HEADER > end)
		return false;
	if (begin[0] == 0x45) {
		/* A fragment, though the first. */
		if (begin[6] & 0x3f || begin[7])
			return false;
		head = IPV4_HEADER + UDP_HEADER;
		said = begin[2] << 8 | begin[3];
		mapped(packet.remote, *(u32 *)(begin + (out ? 16 : 12)));
		packet.remote_port = *(u16 *)(begin + IPV4_HEADER + (out ? 2 : 0));
	} else {
		if (begin + IPV6_HEADER + UDP_HEADER > end || begin[6] != IPPROTO_UDP)
			return false;
		head = IPV6_HEADER + UDP_HEADER;
		said = begin[4] << 8 | begin[5];
		said += said ? IPV6_HEADER : 0;
		__builtin_memcpy(packet.remote, begin + (out ? 24 : 8), 16);
		packet.remote_port = *(u16 *)(begin + IPV6_HEADER + (out ? 2 : 0));
	}
	packet.remote_port = bpf_ntohs(packet.remote_port);
	sk = skb->sk;
	if (!sk)
		return false;
	sk = bpf_sk_fullsock(sk);
	if (!sk || sk->protocol != IPPROTO_UDP)
		return false;
	set_ends(&packet, sk);
	if (fg_dns && has_dns_port(packet.own_port, packet.remote_port))
		return false;
	socket = bpf_sk_storage_get(&packet_sockets, sk, NULL, 0);
	if (!socket || !socket->role || socket->remote_port != packet.remote_port ||
	    !same_address(socket->remote, packet.remote))
		return false;
	/* Who sends is yet to be noted. */
	if (out && !socket->process && wants_process(socket->cgroup))
		return false;
	sums = sums_at(socket->tenancy);
	if (!sums)
		return false;
	bytes = skb->gso_segs > 1 ? skb->len : end_of(skb, said);
	add_datagrams(sums, skb, bytes > head ? bytes - head : 0, out);
	return true;
}

#endif
