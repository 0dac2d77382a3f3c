// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * UDP, DNS and HTTP: what passes the sockets of this host, added up by flow key.
 *
 * A pair of cgroup_skb programs at the root of the version 2 hierarchy sees each packet that a
 * socket sends, before it is cut to the path's MTU, and each that is about to be queued for one.
 * They never hold a packet up. TCP that is neither DNS nor HTTP leaves them after a look-up.
 *
 * Not seen: packets that are forwarded or belong to no socket; what a socket's buffer has no room
 * for is counted as received, and by udp_drop besides.
 */
#include "kernel.h"
#include "flow.h"
#include "address.h"

enum fg_program {
	FG_PACKET_OUT,
	FG_PACKET_IN,
	FG_UDP_DROP,
	FG_PROGRAMS,
};

/* Why something was not counted where it belongs, or not told. Indexes fg_lost. */
enum fg_lost_reason {
	FG_LOST_PROCESS_NAMES_FULL, /* too many different processes */
	FG_LOST_SOCKET_MEMORY,	    /* no memory for what is kept with a socket */
	FG_LOST_UDP_FLOWS_FULL,	    /* a datagram's flow found no room */
	FG_LOST_DNS_FLOWS_FULL,	    /* a DNS message's flow found no room */
	FG_LOST_DNS_QUERIES_FULL,   /* a query is not waited for */
	FG_LOST_DNS_RING_FULL,	    /* a DNS message was not handed out */
	FG_LOST_DNS_STREAM_GAP,	    /* DNS over TCP: a segment was missing or out of order */
	FG_LOST_HTTP_FLOWS_FULL,    /* an HTTP response's flow found no room */
	FG_LOST_HTTP_PIPELINE,	    /* too many requests wait: one has no method and time */
	FG_LOST_HTTP_MALFORMED,	    /* a response with a status code that is none */
	FG_LOST_HTTP_STREAM_GAP,    /* HTTP: a segment was missing, or is not understood */
	FG_LOST_HTTP2_RING_FULL,    /* a piece of an HTTP/2 frame was not handed out */
	FG_LOST_REASONS,
};

/* What is wanted. */
const volatile bool fg_udp;
const volatile bool fg_dns;
const volatile bool fg_http;

#include "cost.h"
#include "packet.h"
#include "packet_flow.h"
#include "dns_stream.h"
#include "udp.h"
#include "accepted.h"
#include "http_socket.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define PASS 1

/* UDP and DNS. A function of its own, for its stack. */
static __noinline void count(struct __sk_buff *skb, bool out)
{
	struct packet packet = {.out = out};
	struct fg_socket *socket;
	struct bpf_sock *sk;
	bool dns;

	if (!parse(skb, &packet) || !skb->sk)
		return;
	sk = bpf_sk_fullsock(skb->sk);
	if (!sk || sk->protocol != packet.protocol)
		return;
	set_ends(&packet, sk);
	dns = fg_dns && has_dns_port(packet.own_port, packet.remote_port);
	if (packet.protocol == IPPROTO_TCP ? !dns || sk->state == TCP_LISTEN : !dns && !fg_udp)
		return;
	socket = socket_of(sk, out);
	if (!socket)
		return;
	if (packet.protocol == IPPROTO_TCP) {
		count_segment(skb, sk, socket, &packet);
		return;
	}
	if (dns) {
		struct message message = {
			.at = packet.transport + UDP_HEADER,
			.end = packet.end,
		};

		message.length = message.end > message.at ? message.end - message.at : 0;
		count_dns(skb, NULL, &message, &packet, socket);
	}
	if (fg_udp)
		count_udp(skb, sk, socket, &packet);
}

/* What a packet is to be looked at for. */
enum interest {
	INTEREST_NONE,
	INTEREST_HTTP,
	INTEREST_REST, /* UDP, DNS; or it cannot be told by what is in reach at once */
};

/* Tells most packets, which are of no interest, or HTTP at best, by what is in reach at once. */
static __always_inline enum interest interest_in(const struct __sk_buff *skb,
						 struct http_segment *segment)
{
	const u8 *begin = (void *)(long)skb->data, *end = (void *)(long)skb->data_end, *tcp;
	u32 at;

	if (begin + IPV6_HEADER > end)
		return INTEREST_REST;
	if (begin[0] >> 4 == 4) {
		if (begin[9] != IPPROTO_TCP)
			return begin[9] == IPPROTO_UDP ? INTEREST_REST : INTEREST_NONE;
		at = (begin[0] & 15) * 4;
	} else {
		if (begin[6] != IPPROTO_TCP)
			return INTEREST_REST;
		at = IPV6_HEADER;
	}
	if (!fg_dns && !fg_http)
		return INTEREST_NONE;
	tcp = begin + at;
	if (tcp + TCP_HEADER > end)
		return INTEREST_REST;
	segment->at = at + (tcp[12] >> 4) * 4;
	segment->end = skb->len;
	segment->reset = !!(tcp[13] & TCP_RST);
	/* Most of them carry nothing. */
	if (segment->at >= segment->end && !segment->reset)
		return INTEREST_NONE;
	if (fg_dns && has_dns_port(tcp[0] << 8 | tcp[1], tcp[2] << 8 | tcp[3]))
		return INTEREST_REST;
	segment->sequence = (u32)tcp[4] << 24 | tcp[5] << 16 | tcp[6] << 8 | tcp[7];
	/* With TCP Fast Open, a SYN may carry payload; it takes a sequence number itself. */
	segment->sequence += !!(tcp[13] & TCP_SYN);
	return fg_http ? INTEREST_HTTP : INTEREST_NONE;
}

static __always_inline void look_at(struct __sk_buff *skb, u32 program, bool out)
{
	struct http_segment segment = {.out = out};
	enum interest interest = interest_in(skb, &segment);
	u64 begin;

	if (interest == INTEREST_HTTP) {
		on_http_segment(skb, program, &segment);
	} else if (interest == INTEREST_REST && (fg_udp || fg_dns)) {
		begin = cost_begin(program, 64);
		if (!fg_udp || !count_usual(skb, out))
			count(skb, out);
		cost_end(program, begin);
	}
}

SEC("cgroup_skb/egress")
int packet_out(struct __sk_buff *skb)
{
	look_at(skb, FG_PACKET_OUT, true);
	return PASS;
}

SEC("cgroup_skb/ingress")
int packet_in(struct __sk_buff *skb)
{
	look_at(skb, FG_PACKET_IN, false);
	return PASS;
}

/* A datagram found no room in its socket's receive buffer, or no memory at all. */
SEC("tp_btf/udp_fail_queue_rcv_skb")
int BPF_PROG(udp_drop, int error, struct sock *sk)
{
	u64 begin = cost_begin(FG_UDP_DROP, 64);
	struct fg_key key = {.role = FG_LISTENER};
	struct inet_sock *inet = (struct inet_sock *)sk;
	struct fg_udp *sums = NULL;
	u64 *known;

	if (sk->__sk_common.skc_family == AF_INET6) {
		struct in6_addr own = sk->__sk_common.skc_v6_rcv_saddr;

		__builtin_memcpy(key.remote, own.in6_u.u6_addr8, 16);
	} else if (sk->__sk_common.skc_rcv_saddr) {
		mapped(key.remote, sk->__sk_common.skc_rcv_saddr);
	}
	key.cgroup = BPF_CORE_READ(sk, sk_cgrp_data.cgroup, kn, id);
	key.netns = netns_of(sk);
	key.port = bpf_ntohs(BPF_CORE_READ(inet, inet_sport));
	known = bpf_map_lookup_elem(&udp_index, &key);
	sums = sums_at(known ? *known : assign_slot(&key));
	if (sums)
		__sync_fetch_and_add(&sums->received_packets, 1);
	cost_end(FG_UDP_DROP, begin);
	return 0;
}

/* The processes behind sockets that serve, for those that were never seen to send. */
SEC("iter/task_file")
int udp_holders(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct fg_server server = {};
	struct inet_sock *inet;
	struct socket *socket;
	struct sock *sk;
	struct fg_serving serving = {}, *known;

	if (!task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk || BPF_CORE_READ(sk, sk_protocol) != IPPROTO_UDP)
		return 0;
	server.cgroup = BPF_CORE_READ(sk, sk_cgrp_data.cgroup, kn, id);
	if (!wants_process(server.cgroup))
		return 0;
	inet = (struct inet_sock *)sk;
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6) {
		BPF_CORE_READ_INTO(&server.address, sk,
				   __sk_common.skc_v6_rcv_saddr.in6_u.u6_addr8);
	} else if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET) {
		u32 own = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);

		if (own)
			mapped(server.address, own);
	} else {
		return 0;
	}
	server.netns = netns_of(sk);
	server.port = bpf_ntohs(BPF_CORE_READ(inet, inet_sport));
	known = bpf_map_lookup_elem(&udp_servers, &server);
	if (!known || known->process)
		return 0;
	serving.since = known->since;
	serving.process = intern_process(task);
	if (serving.process && !bpf_map_update_elem(&udp_servers, &server, &serving, BPF_EXIST))
		__sync_fetch_and_add(&fg_udp_noted, 1);
	return 0;
}
