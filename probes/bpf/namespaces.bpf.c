// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * Network namespaces: of each one its own number, which sockets lead to, and the number of its
 * /proc/net/dev, which everybody can see who sees a process in it. (The number of
 * /proc/<pid>/ns/net is only for who may trace the process.)
 *
 * Started by user space (BPF_PROG_TEST_RUN), under RCU, when it sees a namespace that it does not
 * know. Not seen: what does not fit into the answer, which tells how many there were.
 */
#include "kernel.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct fg_namespace {
	u32 netns;   /* inode number of /proc/<pid>/ns/net */
	u32 devices; /* inode number of /proc/<pid>/net/dev; 0: not found */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 16384);
	__type(key, u32);
	__type(value, struct fg_namespace);
} namespaces SEC(".maps");

u32 fg_namespaces; /* as many there were, whether or not they fit */

/* Entries of a directory are a tree, as pde_subdir_find() looks through it. */
#define DEEPEST 24

static const char wanted[] = {'d', 'e', 'v'};

/* As proc_match(): shorter names come first. */
static __always_inline int order(struct proc_dir_entry *entry)
{
	int order = (int)sizeof(wanted) - BPF_CORE_READ(entry, namelen);
	u8 name[sizeof(wanted)] = {};

	if (order)
		return order;
	bpf_probe_read_kernel(name, sizeof(name), BPF_CORE_READ(entry, name));
	for (u32 i = 0; i < sizeof(wanted) && !order; i++)
		order = wanted[i] - name[i];
	return order;
}

static __always_inline u32 devices_of(struct net *net)
{
	struct rb_node *node = BPF_CORE_READ(net, proc_net, subdir.rb_node);

	for (int i = 0; i < DEEPEST && node; i++) {
		struct proc_dir_entry *entry =
			(void *)node - bpf_core_field_offset(struct proc_dir_entry, subdir_node);
		int side = order(entry);

		if (!side)
			return BPF_CORE_READ(entry, low_ino);
		node = side < 0 ? BPF_CORE_READ(node, rb_left) : BPF_CORE_READ(node, rb_right);
	}
	return 0;
}

struct search {
	struct net *net;
	struct net *first;
	const struct proc_ns_operations *ops;
};

static long look(u32 i, struct search *search)
{
	struct net *net = search->net;
	struct fg_namespace *found;
	u32 index = fg_namespaces;

	/* The head of the list is no namespace: what would be its operations are not. */
	if (BPF_CORE_READ(net, ns.ops) == search->ops) {
		found = bpf_map_lookup_elem(&namespaces, &index);
		if (found) {
			found->netns = BPF_CORE_READ(net, ns.inum);
			found->devices = devices_of(net);
		}
		fg_namespaces = index + 1;
	}
	search->net =
		(void *)BPF_CORE_READ(net, list.next) - bpf_core_field_offset(struct net, list);
	return search->net == search->first;
}

SEC("raw_tp")
int namespaces_all(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct net *net = BPF_CORE_READ(task, nsproxy, net_ns);
	struct search search = {.net = net, .first = net};

	fg_namespaces = 0;
	if (!net)
		return 0;
	search.ops = BPF_CORE_READ(net, ns.ops);
	bpf_loop(1 << 20, look, &search, 0);
	return 0;
}
