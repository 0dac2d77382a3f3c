/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the programs themselves cost: every run is counted, one in 64 is timed (each run of the walk
 * is). The kernel's own statistics (kernel.bpf_stats_enabled) would time every program of the host,
 * at 20 to 40 ns a run: not ours to switch on.
 *
 * Whoever includes this defines enum fg_program before, with FG_PROGRAMS as its last.
 */
#ifndef FG_COST_H
#define FG_COST_H

struct fg_cost {
	__u64 runs;
	__u64 timed_ns;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FG_PROGRAMS);
	__type(key, u32);
	__type(value, struct fg_cost);
} costs SEC(".maps");

/* The time, if this run is one to be timed (never the first, which finds cold caches); else 0. */
static __always_inline u64 cost_begin(u32 program, u64 every)
{
	struct fg_cost *cost = bpf_map_lookup_elem(&costs, &program);

	if (!cost || (cost->runs++ & (every - 1)) != every / 2)
		return 0;
	return bpf_ktime_get_ns();
}

static __always_inline void cost_end(u32 program, u64 begin)
{
	struct fg_cost *cost;

	if (!begin)
		return;
	cost = bpf_map_lookup_elem(&costs, &program);
	if (cost)
		cost->timed_ns += bpf_ktime_get_ns() - begin;
}

#endif
