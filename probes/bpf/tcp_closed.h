/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Adding up sockets that are gone, by flow key, until user space takes the sums over.
 */
#ifndef FG_TCP_CLOSED_H
#define FG_TCP_CLOSED_H

#include "sums.h"

/*
 * True until the first walk has taken the baseline. Until then, a socket that dies in a bucket the
 * walk has not reached is left out: what it counted before the start is not known.
 */
u32 fg_baseline = 1;
u32 fg_baseline_bucket;
u32 fg_baseline_mask;

u64 fg_pending; /* entries in the flow map that is being written */

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

u64 fg_parked; /* entries in the parked map */

/* Sockets already added up although not destroyed yet: closed while the application holds them. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, u64);
	__type(value, u8);
} parked SEC(".maps");

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
		return syn_sent ? FG_FAIL_ABANDONED : FG_FAIL_NO_LOCAL_PORT;
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

/* Until the first walk has taken the baseline, what a socket that it has not come to counted. */
static __always_inline bool is_before_baseline(const struct sock *sk)
{
	return fg_baseline && (sk->__sk_common.skc_hash & fg_baseline_mask) >= fg_baseline_bucket;
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

	if (is_before_baseline(sk))
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
	/* Nobody holds it and its FIN is acknowledged, but the other end's has not come. */
	if (sk->__sk_common.skc_flags & (1ul << SOCK_DEAD) && fin && !aborted && !sk->sk_err &&
	    !(sk->__sk_common.skc_flags & (1ul << SOCK_DONE)))
		add_one(&sums->handed_over);
}

#endif
