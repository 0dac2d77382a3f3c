/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Processes, by numbers that keys can hold, for sockets whose cgroup does not say whose they are.
 */
#ifndef FG_PROCESS_H
#define FG_PROCESS_H

#include "whose.h"

u32 fg_next_process = 1;

/*
 * Ids of processes. An LRU: jobs come and go for ever, and user space remembers what it has read; a
 * process that was evicted gets another id when it is seen again.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct fg_process);
	__type(value, u32);
} processes SEC(".maps");

/* The id of the task's process, by its cgroup and its leader's name; 0 if there is no room. */
static __always_inline u32 intern_process(struct task_struct *task)
{
	struct fg_process process = {};
	u32 *known, id;

	describe_process(&process, task);
	known = bpf_map_lookup_elem(&processes, &process);
	if (known)
		return *known;
	id = __sync_fetch_and_add(&fg_next_process, 1);
	if (bpf_map_update_elem(&processes, &process, &id, BPF_NOEXIST)) {
		known = bpf_map_lookup_elem(&processes, &process);
		if (known)
			return *known;
		lost(FG_LOST_PROCESS_NAMES_FULL);
		return 0;
	}
	return id;
}

#endif
