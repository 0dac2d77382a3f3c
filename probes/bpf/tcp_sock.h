/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Reading one TCP socket: who it belongs to, what it counted.
 */
#ifndef FG_TCP_SOCK_H
#define FG_TCP_SOCK_H

#include "address.h"
#include "accepted.h"

#define SK(tp) (&(tp)->inet_conn.icsk_inet.sk)

/* The v2 cgroup that the socket was made in, 0 if there is none. */
static __always_inline u64 cgroup_of(struct tcp_sock *tp, bool typed)
{
	struct cgroup *cgroup = READ(typed, tp, inet_conn.icsk_inet.sk.sk_cgrp_data.cgroup);
	struct kernfs_node *node;

	if (!cgroup)
		return 0;
	node = READ(typed, cgroup, kn);
	return node ? READ(typed, node, id) : 0;
}

/* The socket's own address, as keys hold addresses. */
static __always_inline void own_address(u8 *address, struct tcp_sock *tp, bool typed)
{
	if (COMMON(typed, tp, skc_family) == AF_INET6) {
		struct in6_addr own = COMMON(typed, tp, skc_v6_rcv_saddr);

		__builtin_memcpy(address, own.in6_u.u6_addr8, sizeof(own));
	} else {
		mapped(address, COMMON(typed, tp, skc_rcv_saddr));
	}
}

/* Fills the key but for the processes, which are looked up by the caller. */
static __always_inline void key_of(struct fg_key *key, struct tcp_sock *tp, bool typed)
{
	struct net *net = COMMON(typed, tp, skc_net.net);
	bool accepted = is_accepted(tp, typed);
	bool local;

	if (COMMON(typed, tp, skc_family) == AF_INET6) {
		struct in6_addr to = COMMON(typed, tp, skc_v6_daddr);
		struct in6_addr from = COMMON(typed, tp, skc_v6_rcv_saddr);
		u32 *remote = (u32 *)key->remote;
		u32 differs = 0;

		for (int i = 0; i < 4; i++) {
			remote[i] = to.in6_u.u6_addr32[i];
			differs |= to.in6_u.u6_addr32[i] ^ from.in6_u.u6_addr32[i];
		}
		local = !differs || (!remote[0] && !remote[1] && remote[2] == bpf_htonl(0xffff) &&
				     is_loopback(remote[3]));
	} else {
		u32 to = COMMON(typed, tp, skc_daddr);

		mapped(key->remote, to);
		local = to == COMMON(typed, tp, skc_rcv_saddr) || is_loopback(to);
	}
	key->cgroup = cgroup_of(tp, typed);
	key->netns = net ? READ(typed, net, ns.inum) : 0;
	key->role = accepted ? FG_SERVER : FG_CLIENT;
	key->port = bpf_ntohs(accepted ? READ(typed, tp, inet_conn.icsk_inet.inet_sport)
				       : COMMON(typed, tp, skc_dport));
	key->peer = local ? FG_PEER_LOCAL : FG_PEER_REMOTE;
}

/*
 * Payload that the other end has acknowledged: bytes_acked counts sequence numbers, the client's
 * SYN among them, and the FIN once it is acknowledged. `fin`: a FIN was queued; it is the last
 * sequence number there is, so it is acknowledged when all are. (bytes_sent would not do: it counts
 * a segment that the lower layers refused as sent, and again when it is sent.)
 */
static __always_inline u64 sent_payload(struct tcp_sock *tp, bool client, bool fin, bool typed)
{
	u64 acked = READ(typed, tp, bytes_acked);

	acked -= client && acked;
	if (fin && READ(typed, tp, snd_una) == READ(typed, tp, write_seq))
		acked -= acked > 0;
	return acked;
}

/* The states in which a FIN has been queued. */
static __always_inline bool has_fin(int state)
{
	return state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2 || state == TCP_CLOSING ||
	       state == TCP_LAST_ACK;
}

/* Payload received in order: tcp_fin() sets SOCK_DONE when it counts the FIN's sequence number. */
static __always_inline u64 received_payload(struct tcp_sock *tp, bool typed)
{
	u64 received = READ(typed, tp, bytes_received);
	bool fin = COMMON(typed, tp, skc_flags) & (1ul << SOCK_DONE);

	return received - (fin && received);
}

/* As tcp_get_info_chrono_stats(), with the span that is still running. */
static __always_inline void limited_time(u32 *limited, struct tcp_sock *tp, u32 now, bool typed)
{
	u32 kind;

	for (int i = 0; i < FG_LIMITS; i++)
		limited[i] = READ(typed, tp, chrono_stat[i]);
	kind = typed ? BPF_CORE_READ_BITFIELD(tp, chrono_type)
		     : BPF_CORE_READ_BITFIELD_PROBED(tp, chrono_type);
	if (kind == TCP_CHRONO_BUSY)
		limited[FG_LIMIT_BUSY] += now - READ(typed, tp, chrono_start);
	else if (kind == TCP_CHRONO_RWND_LIMITED)
		limited[FG_LIMIT_RECEIVE_WINDOW] += now - READ(typed, tp, chrono_start);
	else if (kind == TCP_CHRONO_SNDBUF_LIMITED)
		limited[FG_LIMIT_SEND_BUFFER] += now - READ(typed, tp, chrono_start);
}

#endif
