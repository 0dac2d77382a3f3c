/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Processes, by numbers that keys can hold, for sockets whose cgroup does not say whose they are.
 */
#ifndef FG_PROCESS_H
#define FG_PROCESS_H

/* cgroup ids that tell nothing: none, the root's, init.scope's. */
const volatile u64 fg_mute_cgroups[4];
/* The process is wanted whatever the cgroup. */
const volatile bool fg_want_process;
/* The v1 hierarchy that names processes, as an index of css_set.subsys; -1: the v2 hierarchy. */
const volatile int fg_process_subsys = -1;

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

static __always_inline bool wants_process(u64 cgroup)
{
	return fg_want_process || cgroup == fg_mute_cgroups[0] || cgroup == fg_mute_cgroups[1] ||
	       cgroup == fg_mute_cgroups[2] || cgroup == fg_mute_cgroups[3];
}

static __always_inline u64 process_cgroup(struct task_struct *task)
{
	struct css_set *set = task->cgroups;
	struct cgroup *cgroup;
	struct cgroup_subsys_state *state;

	if (!set)
		return 0;
	if (fg_process_subsys < 0) {
		cgroup = set->dfl_cgrp;
	} else {
		state = BPF_CORE_READ(set, subsys[fg_process_subsys & 15]);
		cgroup = state ? BPF_CORE_READ(state, cgroup) : NULL;
	}
	return cgroup ? BPF_CORE_READ(cgroup, kn, id) : 0;
}

/* The id of the task's process, by its cgroup and its leader's name; 0 if there is no room. */
static __always_inline u32 intern_process(struct task_struct *task)
{
	struct fg_process process = {};
	u32 *known, id;

	if (task->flags & PF_KTHREAD) {
		__builtin_memcpy(process.name, "kernel", 7);
	} else {
		process.cgroup = process_cgroup(task);
		BPF_CORE_READ_STR_INTO(&process.name, task, group_leader, comm);
	}
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
