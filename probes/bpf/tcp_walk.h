/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Reading the sockets that live: a walk of the kernel's socket tables, started by user space, a
 * stretch at a time.
 */
#ifndef FG_TCP_WALK_H
#define FG_TCP_WALK_H

/* The kernel has bpf_rdonly_cast(). */
const volatile bool fg_typed_walk;

struct fg_walk_answer fg_answer;
struct fg_table fg_tables[FG_TABLES];

/* What the walk saw, read by user space through mmap between runs. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4096);
	__type(key, u32);
	__type(value, struct fg_live);
} live SEC(".maps");

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
	out->sent_segments = READ(typed, tp, inet_conn.icsk_accept_queue.qlen.counter);
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

#endif
