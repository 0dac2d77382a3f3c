// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Packets that the kernel drops, added up by owner and by the reason that it gives.
 *
 * kfree_skb is the one place through which every packet goes that ends otherwise than by being
 * used. The owner is the packet's socket where it has one, or the one it was meant for (6.11 and
 * newer tell); else the network namespace of its device, or of its route.
 *
 * Not counted: reasons that are no loss (user space says which; how often they occur is counted for
 * themselves), and messages of sockets that are not of the network (AF_UNIX, netlink). Not seen:
 * what a driver or its hardware drops before there is a packet to free; a run that the kernel skips
 * because the program is running on that CPU already (recursion_misses).
 */
#include "kernel.h"

enum fg_program {
	FG_DROP,
	FG_PROGRAMS,
};

/* Why something was not counted where it belongs. Indexes fg_lost. */
enum fg_lost_reason {
	FG_LOST_DROPS_FULL,   /* a packet's owner and reason found no room */
	FG_LOST_HOLDERS_FULL, /* more network namespaces than can be told apart */
	FG_LOST_REASONS,
};

#include "cost.h"
#include "lost.h"
#include "whose.h"
#include "accepted.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Reasons below this are the kernel's own, one by one; above it are subsystems', 65,536 each. */
#define CORE_REASONS   256
#define SUBSYSTEM_MASK 0xffff0000

/* What packets are added up by. */
struct fg_drop {
	u64 cgroup;   /* v2 id of the socket's; 0: none, or no socket */
	u32 netns;    /* inode number of the network namespace; 0: not known */
	u32 process;  /* of who opened the socket, an id of the TCP probe's; 0: not known */
	u32 reason;   /* enum skb_drop_reason; of a subsystem without the lower half */
	u16 port;     /* that the socket serves on, where the cgroup says too little; 0: none */
	u8 transport; /* of that port: IPPROTO_TCP or IPPROTO_UDP */
	u8 socket;    /* 1: it had a socket */
};

/*
 * A storm is of one owner and one reason: by CPU, so that no two of them write the same line.
 */
struct drop_map {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct fg_drop);
	__type(value, u64);
} drops_a SEC(".maps"), drops_b SEC(".maps");

/* One slot: the map being written, as with the sums of closed TCP sockets. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, u32);
	__array(values, struct drop_map);
} drops SEC(".maps") = {
	.values = {[0] = &drops_a},
};

/* How often each of the kernel's own reasons occurred that is left out. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, CORE_REASONS);
	__type(key, u32);
	__type(value, u64);
} left_out SEC(".maps");

/* The TCP probe's, if that runs: who opened a socket. See tcp_owner.h. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 262144);
	__type(key, u64);
	__type(value, u32);
} sock_process SEC(".maps");

/* The process that stands for a network namespace: the one with the lowest number in it. */
struct fg_holder {
	u64 cgroup; /* v2 id */
	struct fg_process process;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, u32);
	__type(value, struct fg_holder);
} netns_holders SEC(".maps");

/* A bit for each of the kernel's own reasons that is left out. */
const volatile u64 fg_left_out[CORE_REASONS / 64];
/* Subsystems that are left out, by a bit for each. */
const volatile u64 fg_left_out_subsystems;
/* The tracepoint tells which socket a packet was meant for (6.11 and newer). */
const volatile bool fg_tells_receiver;

u64 fg_pending; /* entries in the map that is being written */
u64 fg_net_ops; /* by which a network namespace is told from anything else */

/*
 * A packet's fields share their place with others while it waits in a queue: what is found there is
 * believed only if it leads to what every network namespace has.
 */
static __always_inline u32 number_of(struct net *net)
{
	return net && (u64)net->ns.ops == fg_net_ops ? net->ns.inum : 0;
}

/* The socket that the packet is of, or was meant for. */
static __always_inline struct sock *socket_of(u64 *ctx, struct sk_buff *skb)
{
	struct sock *sk = skb->sk;
	u64 receiver = 0;

	if (!fg_tells_receiver)
		return sk;
	/* Not by its type: verifiers of some kernels take it for never null, which it often is. */
	bpf_probe_read_kernel(&receiver, sizeof(receiver), &ctx[3]);
	return bpf_rdonly_cast(receiver ? (void *)receiver : sk,
			       bpf_core_type_id_kernel(struct sock));
}

/* The port that a socket serves on; 0 for clients. Only asked for where the cgroup says too little.
 */
static __always_inline void serving_port(struct fg_drop *drop, struct sock *sk, u8 state)
{
	u16 protocol = sk->sk_protocol;

	if (protocol == IPPROTO_TCP) {
		if (state != TCP_LISTEN && !is_accepted((struct tcp_sock *)sk, false))
			return;
	} else if (protocol != IPPROTO_UDP ||
		   !(BPF_CORE_READ_BITFIELD(sk, sk_userlocks) & SOCK_BINDPORT_LOCK)) {
		return;
	}
	drop->port = bpf_ntohs(BPF_CORE_READ((struct inet_sock *)sk, inet_sport));
	drop->transport = protocol;
}

/* Fills in whose socket it is. False if it is not of the network. */
static __always_inline bool own(struct fg_drop *drop, struct sock *sk)
{
	u16 family = sk->__sk_common.skc_family;
	u8 state = sk->__sk_common.skc_state;
	struct cgroup *cgroup;

	drop->netns = number_of(sk->__sk_common.skc_net.net);
	if (!drop->netns)
		return true;
	if (family != AF_INET && family != AF_INET6)
		return family == AF_PACKET || family == AF_XDP;
	/* What is left of a connection for a while has no owner any more. */
	if (state == TCP_TIME_WAIT)
		return true;
	drop->socket = 1;
	if (state == TCP_NEW_SYN_RECV) {
		u64 listener = (u64)sk->__sk_common.skc_listener;

		drop->cgroup = BPF_CORE_READ((struct sock *)listener, sk_cgrp_data.cgroup, kn, id);
		if (wants_process(drop->cgroup)) {
			drop->port = sk->__sk_common.skc_num;
			drop->transport = IPPROTO_TCP;
		}
		return true;
	}
	cgroup = sk->sk_cgrp_data.cgroup;
	drop->cgroup = cgroup ? cgroup->kn->id : 0;
	if (wants_process(drop->cgroup)) {
		u64 address = (u64)sk;
		u32 *process = bpf_map_lookup_elem(&sock_process, &address);

		if (process)
			drop->process = *process;
		else
			serving_port(drop, sk, state);
	}
	return true;
}

/* The namespace of a packet without a socket. */
static __always_inline u32 netns_of_packet(struct sk_buff *skb)
{
	struct net_device *dev = skb->dev;
	u32 netns = dev ? number_of(dev->nd_net.net) : 0;
	struct dst_entry *route;
	struct net *net;

	if (netns)
		return netns;
	/* The lowest bit says whether the packet holds it. */
	route = (struct dst_entry *)(skb->_skb_refdst & ~1ul);
	if (!route)
		return 0;
	net = BPF_CORE_READ(route, dev, nd_net.net);
	if (!net || (u64)BPF_CORE_READ(net, ns.ops) != fg_net_ops)
		return 0;
	return BPF_CORE_READ(net, ns.inum);
}

static __always_inline void count(const struct fg_drop *drop)
{
	u64 one = 1, *packets;
	u32 slot = 0;
	void *map = bpf_map_lookup_elem(&drops, &slot);

	if (!map)
		return;
	packets = bpf_map_lookup_elem(map, drop);
	if (!packets) {
		if (!bpf_map_update_elem(map, drop, &one, BPF_NOEXIST)) {
			__sync_fetch_and_add(&fg_pending, 1);
			return;
		}
		packets = bpf_map_lookup_elem(map, drop);
		if (!packets) {
			lost(FG_LOST_DROPS_FULL);
			return;
		}
	}
	/* Nobody interrupts: the kernel would skip the program. */
	(*packets)++;
}

/* Whether a reason is no loss. Counts it then. */
static __always_inline bool is_left_out(u32 reason)
{
	u32 word = reason / 64;
	u64 *times;

	if (reason >= CORE_REASONS)
		return fg_left_out_subsystems >> (reason >> 16 & 63) & 1;
	/* The compiler knows that it is, but does not leave it for the verifier to see. */
	asm volatile("%0 &= 3" : "+r"(word));
	if (!(fg_left_out[word] >> (reason & 63) & 1))
		return false;
	times = bpf_map_lookup_elem(&left_out, &reason);
	if (times)
		(*times)++;
	return true;
}

SEC("tp_btf/kfree_skb")
int drop(u64 *ctx)
{
	struct sk_buff *skb = (struct sk_buff *)ctx[0];
	struct fg_drop drop = {};
	struct sock *sk;
	u64 begin;

	drop.reason = ctx[2];
	if (is_left_out(drop.reason))
		return 0;
	if (drop.reason >= CORE_REASONS)
		drop.reason &= SUBSYSTEM_MASK;
	begin = cost_begin(FG_DROP, 64);
	sk = socket_of(ctx, skb);
	if (!sk || own(&drop, sk)) {
		if (!drop.netns)
			drop.netns = netns_of_packet(skb);
		count(&drop);
	}
	cost_end(FG_DROP, begin);
	return 0;
}

/* Finds a process in each network namespace. Goes through them by their number, the lowest first.
 */
SEC("iter/task")
int find_holders(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct fg_holder holder = {};
	struct net *net;
	u32 netns;

	if (!task || task->pid != task->tgid || task->flags & PF_KTHREAD)
		return 0;
	net = BPF_CORE_READ(task, nsproxy, net_ns);
	if (!net)
		return 0;
	fg_net_ops = (u64)BPF_CORE_READ(net, ns.ops);
	netns = BPF_CORE_READ(net, ns.inum);
	if (bpf_map_lookup_elem(&netns_holders, &netns))
		return 0;
	holder.cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn, id);
	describe_process(&holder.process, task);
	if (bpf_map_update_elem(&netns_holders, &netns, &holder, BPF_NOEXIST))
		lost(FG_LOST_HOLDERS_FULL);
	return 0;
}
