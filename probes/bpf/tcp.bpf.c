// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * TCP: what the kernel's sockets count themselves, added up by flow key.
 *
 * A key's total is the sum over its sockets that are gone (added here when the socket dies) and
 * over those that live (read by walking the kernel's socket tables when somebody asks). Nothing
 * runs per packet, and a live connection costs no memory.
 *
 * Not seen: connects that fail before a SYN exists for want of a route (no state change); a socket
 * disconnected with AF_UNSPEC after the parked map was full (counted in fg_lost); whatever happens
 * in a program run that the kernel skips because the same program is running below it on that CPU
 * (counted by the kernel in recursion_misses; tcp_destroy nearly always runs with softirqs off,
 * where this cannot happen).
 */
#include "kernel.h"
#include "flow.h"
#include "cost.h"
#include "tcp_sock.h"
#include "tcp_owner.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The kernel has bpf_rdonly_cast(). */
const volatile bool fg_typed_walk;

/*
 * True until the first walk has taken the baseline. Until then, a socket that dies in a bucket the
 * walk has not reached is left out: what it counted before the start is not known.
 */
u32 fg_baseline = 1;
u32 fg_baseline_bucket;
u32 fg_baseline_mask;
u64 fg_pending; /* entries in the flow map that is being written */
u64 fg_parked;	/* entries in the parked map */
struct fg_walk_answer fg_answer;
struct fg_table fg_tables[FG_TABLES];

struct flow_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct fg_key);
	__type(value, struct fg_sums);
} flows_a SEC(".maps"), flows_b SEC(".maps");

/*
 * One slot: the flow map being written. User space puts the other one in, which makes the kernel
 * wait until no program can still be writing the first; then that one is drained, and no addition
 * can fall between reading an entry and deleting it.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, u32);
	__array(values, struct flow_map);
} flows SEC(".maps") = {
	.values = {[0] = &flows_a},
};

/* Sockets already added up although not destroyed yet: closed while the application holds them. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, u64);
	__type(value, u8);
} parked SEC(".maps");

/* What the walk saw, read by user space through mmap between runs. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4096);
	__type(key, u32);
	__type(value, struct fg_live);
} live SEC(".maps");

static const struct fg_sums no_sums;

static __always_inline struct fg_sums *sums_of(const struct fg_key *key)
{
	u32 slot = 0;
	void *map = bpf_map_lookup_elem(&flows, &slot);
	struct fg_sums *sums;

	if (!map)
		return NULL;
	sums = bpf_map_lookup_elem(map, key);
	if (sums)
		return sums;
	if (!bpf_map_update_elem(map, key, &no_sums, BPF_NOEXIST))
		__sync_fetch_and_add(&fg_pending, 1);
	sums = bpf_map_lookup_elem(map, key);
	if (!sums)
		lost(FG_LOST_FLOW_MAP_FULL);
	return sums;
}

/* Most counters of a short connection are zero, and an atomic addition costs 5 ns. */
static __always_inline void add(u64 *sum, u64 value)
{
	if (value)
		__sync_fetch_and_add(sum, value);
}

static __always_inline void add_one(u32 *sum)
{
	__sync_fetch_and_add(sum, 1);
}

/* The bucket of a value in a power-of-two histogram; bounds are inclusive, as `le` is. */
static __always_inline u32 bucket_of(u64 value, u32 first, u32 last)
{
	u32 bucket = 0;

	for (u32 power = first; power <= last; power++)
		bucket += value > (1ull << power);
	return bucket;
}

static __always_inline enum fg_failure failure_of(int error, bool syn_sent)
{
	switch (error) {
	case ECONNREFUSED:
		return FG_FAIL_REFUSED;
	case ETIMEDOUT:
		return FG_FAIL_TIMEOUT;
	case EHOSTUNREACH:
		return FG_FAIL_HOST_UNREACHABLE;
	case ENETUNREACH:
		return FG_FAIL_NET_UNREACHABLE;
	case ECONNRESET:
		return FG_FAIL_RESET;
	case 0:
		/* Without a SYN it was this host that failed it: no free local port. */
		return syn_sent ? FG_FAIL_ABANDONED : FG_FAIL_OTHER;
	default:
		return FG_FAIL_OTHER;
	}
}

static __always_inline enum fg_close_reason close_reason(int error, bool aborted)
{
	switch (error) {
	case 0:
		return aborted ? FG_CLOSE_RESET_SENT : FG_CLOSE_FIN;
	case ECONNRESET:
	case EPIPE:
		return FG_CLOSE_RESET_RECEIVED;
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case ENETUNREACH:
		return FG_CLOSE_TIMEOUT;
	default:
		return FG_CLOSE_RESET_SENT;
	}
}

/*
 * Adds a socket that will count no more. `fin`: a FIN was queued; `aborted`: it was closed without
 * one and without an error.
 */
static __always_inline void add_closed(struct tcp_sock *tp, bool fin, bool aborted,
				       u32 more_segments)
{
	struct sock *sk = SK(tp);
	struct fg_key key = {};
	struct fg_sums *sums;
	u32 limited[FG_LIMITS];
	u64 acked = tp->bytes_acked;
	u32 rtt = tp->srtt_us >> 3;
	u32 index;
	bool client;

	if (fg_baseline && (sk->__sk_common.skc_hash & fg_baseline_mask) >= fg_baseline_bucket)
		return;
	key_of(&key, tp, true);
	own(&key, tp, true);
	client = key.role == FG_CLIENT;
	sums = sums_of(&key);
	if (!sums)
		return;
	add(&sums->sent_segments, tp->segs_out + more_segments);
	add(&sums->received_segments, tp->segs_in);
	add(&sums->retransmitted, tp->total_retrans);
	if (client)
		add(&sums->attempts, 1);
	if (client && !acked) {
		add(&sums->syn_retransmits, tp->total_retrans);
		index = failure_of(sk->sk_err, tp->segs_out);
		if (index < FG_FAILURES)
			add_one(&sums->failed[index]);
		return;
	}
	add(&sums->opened, 1);
	add(&sums->sent_bytes, sent_payload(tp, client, fin, true));
	add(&sums->received_bytes, received_payload(tp, true));
	add(&sums->out_of_order, tp->rcv_ooopack);
	/* A reset leaves the span running in which the connection was stuck. */
	limited_time(limited, tp, (u32)bpf_jiffies64(), true);
	for (int i = 0; i < FG_LIMITS; i++)
		add(&sums->limited[i], limited[i]);
	if (rtt) {
		index = bucket_of(rtt, FG_RTT_FIRST, FG_RTT_LAST);
		if (index < FG_RTT_BUCKETS)
			add_one(&sums->rtt[index]);
		add(&sums->rtt_sum, rtt);
	}
	index = close_reason(sk->sk_err, aborted);
	if (index < FG_CLOSE_REASONS)
		add_one(&sums->closed[index]);
}

/*
 * A child that never was a connection: another one took its request (a race of two final
 * acknowledgements). It has seen the SYN only, and sent nothing.
 */
static __always_inline bool is_phantom(struct tcp_sock *tp)
{
	return is_accepted(tp, true) && tp->segs_in <= 1 && !tp->segs_out;
}

static __always_inline void forget_process(const struct sock *sk, struct tcp_sock *tp)
{
	u64 address = (u64)sk;

	if (wants_process(cgroup_of(tp, true)) && !bpf_map_delete_elem(&sock_process, &address))
		__sync_fetch_and_sub(&fg_sock_processes, 1);
}

static __always_inline void destroyed(struct sock *sk)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock(sk);
	u64 address = (u64)sk;

	if (!tp)
		return;
	if (fg_parked && !bpf_map_delete_elem(&parked, &address)) {
		__sync_fetch_and_sub(&fg_parked, 1);
	} else if (is_phantom(tp)) {
		return;
	} else if (tp->segs_in || tp->segs_out) {
		/* Nobody held it: close() queued the FIN. Not acknowledged: the kernel gave it up.
		 */
		add_closed(tp, true, tp->snd_una != tp->write_seq, 0);
		if (is_accepted(tp, true))
			forget_local_owner(tp);
	} else if (sk->sk_drops.counter && sk->sk_max_ack_backlog) {
		struct fg_key key = {};
		struct fg_sums *sums;

		key_of(&key, tp, true);
		own_address(key.remote, tp, true);
		key.role = FG_LISTENER;
		key.port = bpf_ntohs(tp->inet_conn.icsk_inet.inet_sport);
		key.peer = FG_PEER_REMOTE;
		sums = sums_of(&key);
		if (sums)
			add(&sums->listen_drops, (u32)sk->sk_drops.counter);
	}
	if (!is_accepted(tp, true))
		forget_process(sk, tp);
}

/*
 * The end of every TCP socket. Softirqs are off, so that it does not run inside itself, except when
 * close() works off the segments that came in meanwhile.
 */
SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(tcp_destroy, struct sock *sk)
{
	u64 begin = cost_begin(FG_TCP_DESTROY, 64);

	destroyed(sk);
	cost_end(FG_TCP_DESTROY, begin);
	return 0;
}

/*
 * How long the handshake took, in microseconds. The only segment acknowledged so far is the SYN:
 * its round trip, and before that the timeouts after which it was sent again. (retrans_stamp is
 * zero by now: tcp_ack() has ended the loss state.) The first timeout is 1 s (RFC 6298); it
 * doubles, from 6.5 on after a number of equal ones only.
 */
static __always_inline u64 handshake_time(struct tcp_sock *tp)
{
	struct net *net = SK(tp)->__sk_common.skc_net.net;
	u64 took = tp->srtt_us >> 3, timeout = 1000000;
	u32 linear = 0, again = tp->total_retrans;

	if (net && bpf_core_field_exists(net->ipv4.sysctl_tcp_syn_linear_timeouts))
		linear = net->ipv4.sysctl_tcp_syn_linear_timeouts;
	for (u32 i = 1; i <= 16 && i <= again; i++) {
		took += timeout;
		if (i > linear)
			timeout *= 2;
	}
	return took;
}

static __always_inline void connected(struct tcp_sock *tp)
{
	struct fg_key key = {};
	struct fg_sums *sums;
	u64 took = handshake_time(tp);
	u32 bucket = bucket_of(took, FG_CONNECT_FIRST, FG_CONNECT_LAST);

	key_of(&key, tp, true);
	own(&key, tp, true);
	if (key.peer == FG_PEER_LOCAL)
		note_local_owner(tp, &key);
	sums = sums_of(&key);
	if (!sums)
		return;
	if (bucket < FG_CONNECT_BUCKETS)
		add_one(&sums->connect[bucket]);
	add(&sums->connect_sum, took);
	add(&sums->syn_retransmits, tp->total_retrans);
}

/*
 * A socket that will count no more while its application still holds it, and may reuse it. (One
 * that nobody holds is destroyed next, and tcp_destroy adds it.)
 */
static __always_inline void park(struct tcp_sock *tp, u64 address, int old)
{
	struct sock *sk = SK(tp);
	bool done = sk->__sk_common.skc_flags & (1ul << SOCK_DONE);
	bool aborted = !sk->sk_err &&
		       (old == TCP_ESTABLISHED || old == TCP_CLOSE_WAIT || old == TCP_SYN_RECV ||
			old == TCP_FIN_WAIT1 || (old == TCP_FIN_WAIT2 && !done));
	u8 marker = 1;

	if (is_phantom(tp))
		return;
	if (bpf_map_update_elem(&parked, &address, &marker, BPF_NOEXIST)) {
		lost(FG_LOST_PARKED_MAP_FULL);
		return;
	}
	__sync_fetch_and_add(&fg_parked, 1);
	/* The kernel sends the reset after this state change. */
	add_closed(tp, has_fin(old), aborted, aborted);
	if (is_accepted(tp, true))
		forget_local_owner(tp);
}

/*
 * Nobody holds the socket any more: once closed, it is destroyed at once. (MPTCP disconnects its
 * subflows after letting go of them; no other socket goes from these states to CLOSE unheld.)
 */
static __always_inline bool is_dead(const struct sock *sk, int old)
{
	return sk->__sk_common.skc_flags & (1ul << SOCK_DEAD) && old != TCP_ESTABLISHED &&
	       old != TCP_CLOSE_WAIT && old != TCP_SYN_RECV && old != TCP_SYN_SENT;
}

/* The few of a connection's state changes that tell something. */
static __always_inline bool matters(const struct sock *sk, int old, int now)
{
	switch (now) {
	case TCP_CLOSE:
		return old != TCP_LISTEN && old != TCP_CLOSE && !is_dead(sk, old);
	case TCP_ESTABLISHED:
		return old == TCP_SYN_SENT;
	case TCP_SYN_SENT:
	case TCP_LISTEN:
		return old == TCP_CLOSE;
	default:
		return false;
	}
}

static __always_inline void changed(const struct sock *sk, int old, int now)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock((void *)sk);
	u64 address = (u64)sk;

	if (!tp)
		return;
	if (now == TCP_CLOSE) {
		park(tp, address, old);
	} else if (now == TCP_ESTABLISHED) {
		connected(tp);
	} else {
		if (fg_parked && !bpf_map_delete_elem(&parked, &address))
			__sync_fetch_and_sub(&fg_parked, 1);
		if (wants_process(cgroup_of(tp, true)))
			note_process(sk, bpf_get_current_task_btf());
	}
}

/*
 * Fires ten times for a connection within one host; all but a few changes are left at once, before
 * the cost is counted even. Keep it short: while it runs in a process's context, a softirq on the
 * same CPU cannot run it.
 */
SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(tcp_state, const struct sock *sk, const int old, const int now)
{
	u64 begin;

	if (!matters(sk, old, now))
		return 0;
	begin = cost_begin(FG_TCP_STATE, 64);
	changed(sk, old, now);
	cost_end(FG_TCP_STATE, begin);
	return 0;
}

static __always_inline void synack_again(const struct sock *sk, const struct request_sock *req)
{
	const struct sock_common *to = &req->__req_common;
	struct net *net = sk->__sk_common.skc_net.net;
	struct tcp_sock *tp = bpf_skc_to_tcp_sock((void *)sk);
	struct fg_key key = {};
	struct fg_sums *sums;

	if (!tp)
		return;
	if (to->skc_family == AF_INET6) {
		u32 *remote = (u32 *)key.remote;

		for (int i = 0; i < 4; i++)
			remote[i] = to->skc_v6_daddr.in6_u.u6_addr32[i];
	} else {
		mapped(key.remote, to->skc_daddr);
	}
	key.cgroup = cgroup_of(tp, true);
	key.netns = net ? net->ns.inum : 0;
	key.role = FG_SERVER;
	key.port = to->skc_num;
	sums = sums_of(&key);
	if (sums)
		add(&sums->synack_retransmits, 1);
}

SEC("tp_btf/tcp_retransmit_synack")
int BPF_PROG(tcp_synack, const struct sock *sk, const struct request_sock *req)
{
	u64 begin = cost_begin(FG_TCP_SYNACK, 64);

	synack_again(sk, req);
	cost_end(FG_TCP_SYNACK, begin);
	return 0;
}

/* The processes behind sockets that are older than the exporter, and behind handed-on listeners. */
SEC("iter/task_file")
int tcp_holders(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct tcp_sock *tp;
	struct sock *sk = NULL;
	struct socket *socket;
	u32 known, id;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk)
		return 0;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp || is_accepted(tp, true) || !wants_process(cgroup_of(tp, true)))
		return 0;
	if (sk->__sk_common.skc_state == TCP_CLOSE)
		return 0;
	id = intern_process(task);
	if (!id)
		return 0;
	known = process_of(sk);
	if (known == id)
		return 0;
	/* A client's process is part of its key, and stays what it was when the key was first used.
	 */
	if (sk->__sk_common.skc_state != TCP_LISTEN && !fg_baseline)
		return 0;
	/* Handed on by the first process (socket activation): whoever else holds it serves it. */
	if (known && task->tgid == 1)
		return 0;
	note_process(sk, task);
	return 0;
}

/* Buckets whose heads are read at once. */
#define ROW 8

struct walk {
	u64 base;
	u64 stride;
	u64 node;
	u64 since;
	u64 nulls; /* what the end of bucket 0's chain says; of bucket n: that plus n */
	u32 bucket;
	u32 mask;
	u32 mark;
	u32 again;
	u32 now;
	u32 row; /* 1 + the row that heads is of */
	bool listening;
	u64 heads[ROW];
};

static __always_inline void see_established(struct fg_live *out, struct tcp_sock *tp,
					    struct walk *walk, u8 state, bool typed)
{
	struct fg_key *key = &out->key;
	bool client;
	u32 rtt = 0;

	key->peer_cgroup = 0;
	key->process = key->peer_process = 0;
	key_of(key, tp, typed);
	own(key, tp, typed);
	client = key->role == FG_CLIENT;
	out->sent_bytes = sent_payload(tp, client, has_fin(state), typed);
	out->received_bytes = received_payload(tp, typed);
	out->sent_segments = READ(typed, tp, segs_out);
	out->received_segments = READ(typed, tp, segs_in);
	out->retransmitted = READ(typed, tp, total_retrans);
	out->out_of_order = READ(typed, tp, rcv_ooopack);
	limited_time(out->limited, tp, walk->now, typed);
	if (state != TCP_SYN_SENT && state != TCP_SYN_RECV) {
		u32 sent = walk->now - READ(typed, tp, lsndtime);
		u32 received = walk->now - READ(typed, tp, inet_conn.icsk_ack.lrcvtime);

		if ((sent < received ? sent : received) <= walk->now - (u32)walk->since)
			rtt = READ(typed, tp, srtt_us) >> 3;
	}
	out->rtt = rtt;
	out->listen_drops = out->queue_length = out->queue_limit = 0;
}

static __always_inline void see_listener(struct fg_live *out, struct tcp_sock *tp, bool typed)
{
	struct fg_key *key = &out->key;
	struct net *net = COMMON(typed, tp, skc_net.net);

	__builtin_memset(out, 0, sizeof(*out));
	key->cgroup = cgroup_of(tp, typed);
	key->netns = net ? READ(typed, net, ns.inum) : 0;
	key->role = FG_LISTENER;
	key->port = COMMON(typed, tp, skc_num);
	own_address(key->remote, tp, typed);
	if (wants_process(key->cgroup))
		key->process = process_of(tp);
	out->listen_drops = READ(typed, tp, inet_conn.icsk_inet.sk.sk_drops.counter);
	out->queue_length = READ(typed, tp, inet_conn.icsk_inet.sk.sk_ack_backlog);
	out->queue_limit = READ(typed, tp, inet_conn.icsk_inet.sk.sk_max_ack_backlog);
}

/* One socket of a chain: a record, if it is one that counts. */
static __always_inline void see(struct tcp_sock *tp, struct walk *walk, bool typed)
{
	u8 state = COMMON(typed, tp, skc_state);
	struct fg_live *out;
	u32 index;

	/* These share the chain but are smaller structures: nothing but the common part is theirs.
	 */
	if (state == TCP_TIME_WAIT || state == TCP_NEW_SYN_RECV || state == TCP_CLOSE ||
	    (state == TCP_LISTEN) != walk->listening)
		return;
	/* The memory of a socket may be another one's by now: is this one in this chain? */
	if (!walk->listening && (COMMON(typed, tp, skc_hash) & walk->mask) != walk->bucket)
		return;
	if (READ(typed, tp, inet_conn.icsk_inet.sk.sk_protocol) != IPPROTO_TCP)
		return;
	index = fg_answer.sockets;
	out = bpf_map_lookup_elem(&live, &index);
	if (!out) {
		lost(FG_LOST_LIVE_SOCKETS);
		return;
	}
	if (walk->listening)
		see_listener(out, tp, typed);
	else
		see_established(out, tp, walk, state, typed);
	out->state = state;
	/* Gone or reused while it was read: its counters come from tcp_destroy. */
	if (COMMON(typed, tp, skc_state) == TCP_CLOSE ||
	    READ(typed, tp, inet_conn.icsk_inet.sk.__sk_common.skc_refcnt.refs.counter) == 0)
		return;
	fg_answer.sockets = index + 1;
}

/*
 * Touches the sockets of a row of buckets, so that their cache misses overlap instead of following
 * each other: a socket that nobody has used lately costs a dozen of them.
 */
static __always_inline void touch(const u64 *heads)
{
	u64 sum = 0;

	for (u32 i = 0; i < ROW; i++) {
		struct tcp_sock *tp;

		if (heads[i] & 1)
			continue;
		tp = bpf_rdonly_cast((void *)heads[i] - bpf_core_field_offset(struct sock_common,
									      skc_nulls_node),
				     bpf_core_type_id_kernel(struct tcp_sock));
		sum += tp->inet_conn.icsk_inet.sk.__sk_common.skc_hash;
		sum += tp->inet_conn.icsk_inet.sk.sk_protocol;
		sum += tp->inet_conn.icsk_inet.inet_sport;
		sum += tp->inet_conn.icsk_inet.mc_index;
		sum += tp->inet_conn.icsk_ack.lrcvtime;
		sum += tp->segs_out;
		sum += tp->lsndtime;
		sum += tp->srtt_us;
		sum += tp->bytes_received;
		sum += tp->bytes_acked;
		sum += tp->total_retrans;
		sum += tp->rcv_ooopack;
		asm volatile("" ::"r"(tp->inet_conn.icsk_inet.sk.sk_cgrp_data.cgroup));
	}
	asm volatile("" ::"r"(sum));
}

/* The first node of the bucket at hand; 0 if it cannot be read. */
static __always_inline u64 head(struct walk *walk)
{
	u64 node = 0;

	/* The established table is nothing but heads: read a row of them at once. */
	if (walk->stride == sizeof(node) && !walk->again && (walk->mask + 1) % ROW == 0) {
		if (walk->row != walk->bucket / ROW + 1) {
			if (bpf_probe_read_kernel(
				    walk->heads, sizeof(walk->heads),
				    (void *)(walk->base +
					     walk->bucket / ROW * sizeof(walk->heads))))
				return 0;
			walk->row = walk->bucket / ROW + 1;
			if (fg_typed_walk)
				touch(walk->heads);
		}
		return walk->heads[walk->bucket % ROW];
	}
	if (bpf_probe_read_kernel(&node, sizeof(node),
				  (void *)(walk->base + walk->bucket * walk->stride)))
		return 0;
	return node;
}

/* One step of the walk: the head of the next bucket, the next socket of a chain, or its end. */
static long step(u32 i, struct walk *walk)
{
	struct hlist_nulls_node *node;
	void *sk;

	if (!walk->node) {
		if (walk->bucket > walk->mask)
			return 1;
		/* Begin no chain that may not fit. */
		if (fg_answer.sockets > 4096 - 512)
			return 1;
		walk->mark = fg_answer.sockets;
		if (fg_baseline && !walk->listening)
			fg_baseline_bucket = walk->bucket;
		walk->node = head(walk);
		if (!walk->node) {
			walk->bucket++;
			return 0;
		}
	}
	if (walk->node & 1) {
		/* The chain's end names its bucket. Another one: a socket moved, and we with it. */
		if (walk->node >> 1 != walk->nulls + walk->bucket && walk->again < 8) {
			fg_answer.moved++;
			fg_answer.sockets = walk->mark;
			walk->again++;
		} else {
			walk->bucket++;
			walk->again = 0;
		}
		walk->node = 0;
		return 0;
	}
	node = (void *)walk->node;
	sk = (void *)walk->node - bpf_core_field_offset(struct sock_common, skc_nulls_node);
	if (fg_typed_walk)
		see(bpf_rdonly_cast(sk, bpf_core_type_id_kernel(struct tcp_sock)), walk, true);
	else
		see(sk, walk, false);
	walk->node = (u64)BPF_CORE_READ(node, next);
	/* Torn out of memory that is no socket any more: give the rest of the chain up, and say so.
	 */
	if (!walk->node) {
		fg_answer.moved++;
		walk->bucket++;
		walk->again = 0;
	}
	return 0;
}

/*
 * Reads a stretch of a socket table into the live map. Started by user space (BPF_PROG_TEST_RUN),
 * under RCU, as the kernel's own lock-free look-up walks it. A run looks at no more than `steps`
 * buckets and sockets, so that it holds the CPU for a millisecond or so.
 */
SEC("raw_tp")
int tcp_walk(struct bpf_raw_tracepoint_args *ctx)
{
	struct walk walk = {
		.base = ctx->args[0],
		.bucket = ctx->args[1],
		.mask = ctx->args[2],
		.listening = ctx->args[3],
		.since = ctx->args[4],
	};
	u64 begin = cost_begin(FG_TCP_WALK, 1);
	u64 now = bpf_jiffies64();

	walk.now = now;
	if (walk.listening) {
		walk.nulls = LISTENING_NULLS_BASE;
		walk.stride = bpf_core_type_size(struct inet_listen_hashbucket);
		walk.base += bpf_core_field_offset(struct inet_listen_hashbucket, nulls_head);
	} else {
		walk.stride = bpf_core_type_size(struct inet_ehash_bucket);
		if (fg_baseline)
			fg_baseline_mask = walk.mask;
	}
	fg_answer.sockets = 0;
	fg_answer.moved = 0;
	fg_answer.jiffies = now;
	fg_answer.steps = bpf_loop(32768, step, &walk, 0);
	/* Out of steps within a chain: the next run begins it again. */
	if (walk.node)
		fg_answer.sockets = walk.mark;
	fg_answer.next = walk.bucket;
	if (fg_baseline && !walk.listening)
		fg_baseline_bucket = walk.bucket;
	cost_end(FG_TCP_WALK, begin);
	return 0;
}

struct search {
	struct net *net;
	struct net *first;
	const struct proc_ns_operations *ops;
	u64 shared;
};

static long look(u32 i, struct search *search)
{
	struct net *net = search->net;
	struct inet_hashinfo *info;
	u32 n = fg_answer.tables;

	/* The head of the list is no namespace: what would be its operations are not. */
	if (BPF_CORE_READ(net, ns.ops) == search->ops) {
		info = BPF_CORE_READ(net, ipv4.tcp_death_row.hashinfo);
		if (info && (u64)info != search->shared) {
			if (!BPF_CORE_READ(info, pernet))
				search->shared = (u64)info;
			if (n < FG_TABLES) {
				struct fg_table *table = &fg_tables[n & (FG_TABLES - 1)];

				table->established = (u64)BPF_CORE_READ(info, ehash);
				table->established_mask = BPF_CORE_READ(info, ehash_mask);
				table->listening = (u64)BPF_CORE_READ(info, lhash2);
				table->listening_mask = BPF_CORE_READ(info, lhash2_mask);
				fg_answer.tables = n + 1;
			} else {
				lost(FG_LOST_TABLES);
			}
		}
	}
	search->net =
		(void *)BPF_CORE_READ(net, list.next) - bpf_core_field_offset(struct net, list);
	return search->net == search->first;
}

/* Finds the socket tables: all namespaces share the first one's, unless told to have their own. */
SEC("raw_tp")
int tcp_tables(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct net *net = BPF_CORE_READ(task, nsproxy, net_ns);
	struct search search = {.net = net, .first = net};
	u64 begin = cost_begin(FG_TCP_TABLES, 1);

	fg_answer.tables = 0;
	fg_answer.jiffies = bpf_jiffies64();
	if (!net)
		return 0;
	search.ops = BPF_CORE_READ(net, ns.ops);
	bpf_loop(1 << 20, look, &search, 0);
	cost_end(FG_TCP_TABLES, begin);
	return 0;
}
