/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Reading fields of a TCP socket, and which end it is.
 *
 * `typed` is a constant at every call: true where the verifier knows the pointer's type (tracepoint
 * arguments, bpf_rdonly_cast), so that a field is one load; false where each field is copied with
 * bpf_probe_read_kernel (the walk on kernels before 6.2).
 */
#ifndef FG_ACCEPTED_H
#define FG_ACCEPTED_H

#define READ(typed, ptr, field)                                                                    \
	({                                                                                         \
		typeof((ptr)->field) value_;                                                       \
		if (typed)                                                                         \
			value_ = (ptr)->field;                                                     \
		else                                                                               \
			bpf_core_read(&value_, sizeof(value_), &(ptr)->field);                     \
		value_;                                                                            \
	})

#define COMMON(typed, tp, field) READ(typed, tp, inet_conn.icsk_inet.sk.__sk_common.field)

/*
 * Accepted or opened? Only an accepted socket gets the incoming interface as its multicast
 * interface (tcp_v4_syn_recv_sock, tcp_v6_syn_recv_sock); no application sets one on TCP.
 */
static __always_inline bool is_accepted(struct tcp_sock *tp, bool typed)
{
	struct ipv6_pinfo *six;

	if (COMMON(typed, tp, skc_family) == AF_INET)
		return READ(typed, tp, inet_conn.icsk_inet.mc_index) != 0;
	six = READ(typed, tp, inet_conn.icsk_inet.pinet6);
	return six && READ(typed, six, mcast_oif) != 0;
}

#endif
