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

enum fg_program {
	FG_TCP_DESTROY,
	FG_TCP_STATE,
	FG_TCP_SYNACK,
	FG_TCP_WALK,
	FG_TCP_TABLES,
	FG_PROGRAMS,
};

/* Why something was not counted where it belongs. Indexes fg_lost. */
enum fg_lost_reason {
	FG_LOST_FLOW_MAP_FULL,	    /* a closed socket's counters found no room */
	FG_LOST_PARKED_MAP_FULL,    /* counters may be lost should the socket be disconnected and
				       reused */
	FG_LOST_PROCESS_MAP_FULL,   /* a socket's process was not kept */
	FG_LOST_PROCESS_NAMES_FULL, /* too many different processes */
	FG_LOST_LIVE_SOCKETS,	    /* a hash chain longer than a run can report */
	FG_LOST_TABLES,		    /* more socket tables than a run can report */
	FG_LOST_LOCAL_OWNERS_FULL,  /* the client of a connection within this host was not kept */
	FG_LOST_REASONS,
};

#include "cost.h"
#include "tcp_sock.h"
#include "service.h"
#include "tcp_owner.h"
#include "tcp_closed.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

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
	bool local;
	u32 bucket = bucket_of(took, FG_CONNECT_FIRST, FG_CONNECT_LAST);

	key_of(&key, tp, true);
	local = key.peer == FG_PEER_LOCAL;
	own(&key, tp, true);
	/* Of a Service, too, that has an address of this host: nobody may translate it. */
	if (local)
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

/*
 * The kernel starts an accepted socket's retransmissions with the SYN-ACKs that were sent again
 * before it existed. Those are counted where they are sent (tcp_synack): taken off here.
 */
static __always_inline void without_synacks(const struct sock *sk, struct tcp_sock *tp)
{
	struct fg_key key = {};
	struct fg_sums *sums;

	if (!is_accepted(tp, true) || is_before_baseline(sk))
		return;
	key_of(&key, tp, true);
	own(&key, tp, true);
	sums = sums_of(&key);
	if (sums)
		add(&sums->retransmitted, -(u64)tp->total_retrans);
}

static __always_inline bool has_retransmitted(const struct sock *sk)
{
	struct tcp_sock *tp = bpf_skc_to_tcp_sock((void *)sk);

	return tp && tp->total_retrans;
}

/* The few of a connection's state changes that tell something. */
static __always_inline bool matters(const struct sock *sk, int old, int now)
{
	switch (now) {
	case TCP_CLOSE:
		return old != TCP_LISTEN && old != TCP_CLOSE && !is_dead(sk, old);
	case TCP_ESTABLISHED:
		return old == TCP_SYN_SENT || (old == TCP_SYN_RECV && has_retransmitted(sk));
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
	} else if (now == TCP_ESTABLISHED && old == TCP_SYN_RECV) {
		without_synacks(sk, tp);
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

#include "tcp_walk.h"
