/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Whether a socket's cgroup says whose it is, and what says it of a process.
 */
#ifndef FG_WHOSE_H
#define FG_WHOSE_H

#include "flow.h"

/* cgroup ids that tell nothing: none, the root's, init.scope's. */
const volatile u64 fg_mute_cgroups[4];
/* The process is wanted whatever the cgroup. */
const volatile bool fg_want_process;
/* The v1 hierarchy that names processes, as an index of css_set.subsys; -1: the v2 hierarchy. */
const volatile int fg_process_subsys = -1;

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

/* A process by its cgroup and its leader's name. */
static __always_inline void describe_process(struct fg_process *process, struct task_struct *task)
{
	if (task->flags & PF_KTHREAD) {
		__builtin_memcpy(process->name, "kernel", 7);
	} else {
		process->cgroup = process_cgroup(task);
		BPF_CORE_READ_STR_INTO(&process->name, task, group_leader, comm);
	}
}

#endif
