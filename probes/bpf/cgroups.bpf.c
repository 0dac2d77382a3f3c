// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Control groups: the path of each one that is made. A group that lives shorter than the time
 * between two walks of the hierarchy would otherwise have no name when its sockets are reported.
 *
 * Only the version 2 hierarchy and the version 1 one that names processes. Not seen: groups made
 * before the start (a walk finds those); renamed ones (version 1 alone can; the next walk tells);
 * paths longer than a record and whatever found the ring full, both counted in fg_lost.
 */
#include "kernel.h"

enum fg_program {
	FG_CGROUP_MKDIR,
	FG_PROGRAMS,
};

#include "cost.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

enum fg_group_lost {
	FG_GROUP_RING_FULL,
	FG_GROUP_PATH_TOO_LONG,
	FG_GROUP_LOST_REASONS,
};

/* The kernel's own buffer for the path: a longer one is cut short before it comes here. */
#define PATH_BYTES 1024

/* In the ring without the unused end of the path. */
struct fg_group {
	u64 id;
	u32 hierarchy; /* 0: version 2 */
	u32 path_bytes;
	char path[PATH_BYTES];
};

/*
 * Room for 2,400 groups of 200 bytes of path, drained each second: far more than a node makes. No
 * wake-ups: user space looks by itself.
 */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 512 * 1024);
} groups SEC(".maps");

/* The tracepoint fires under a spin lock with interrupts off: nobody else uses this meanwhile. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct fg_group);
} scratch SEC(".maps");

/* The version 1 hierarchies of interest, by a bit for each controller; 0: none. */
const volatile u32 fg_v1_controllers;

u64 fg_made; /* records written */
u64 fg_lost[FG_GROUP_LOST_REASONS];

static __always_inline void made(struct cgroup *cgroup, const char *path)
{
	struct cgroup_root *root = cgroup->root;
	struct fg_group *group;
	u32 hierarchy = root->hierarchy_id, zero = 0;
	long bytes;

	if (hierarchy && !(root->subsys_mask & fg_v1_controllers))
		return;
	group = bpf_map_lookup_elem(&scratch, &zero);
	if (!group)
		return;
	bytes = bpf_probe_read_kernel_str(group->path, sizeof(group->path), path);
	/* Up to 6.6 the kernel leaves the buffer empty, or keeps its begin, as it pleases. */
	if (bytes <= 1 || bytes >= PATH_BYTES) {
		__sync_fetch_and_add(&fg_lost[FG_GROUP_PATH_TOO_LONG], 1);
		return;
	}
	bytes--;
	group->id = cgroup->kn->id;
	group->hierarchy = hierarchy;
	group->path_bytes = bytes;
	bytes += __builtin_offsetof(struct fg_group, path);
	if (bpf_ringbuf_output(&groups, group, bytes, BPF_RB_NO_WAKEUP))
		__sync_fetch_and_add(&fg_lost[FG_GROUP_RING_FULL], 1);
	else
		__sync_fetch_and_add(&fg_made, 1);
}

SEC("tp_btf/cgroup_mkdir")
int BPF_PROG(cgroup_mkdir, struct cgroup *cgroup, const char *path)
{
	u64 begin = cost_begin(FG_CGROUP_MKDIR, 1);

	made(cgroup, path);
	cost_end(FG_CGROUP_MKDIR, begin);
	return 0;
}
