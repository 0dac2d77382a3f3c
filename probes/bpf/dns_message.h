/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* One DNS message: who sent what, and which query it answers. */
#ifndef FG_DNS_MESSAGE_H
#define FG_DNS_MESSAGE_H

#include "dns.h"
#include "dns_sample.h"

/* A message as it is matched. */
struct exchange {
	struct fg_dns_id id;
	struct fg_dns_query query; /* itself, or what it would answer */
	struct question question;
	u8 header[DNS_HEADER];
	u8 formed;
	u8 pad[3];
};

enum {
	DNS_RESPONSE = 0x80,  /* in the header's third byte */
	DNS_TRUNCATED = 0x02, /* in the same */
};

/* The id is used for another query, or the answer is here: what becomes of the one that waited. */
static __always_inline void expire(const struct fg_dns_query *query)
{
	struct fg_dns *sums;

	if (query->timed_out)
		return;
	sums = dns_sums(&query->key);
	if (sums)
		add_one(&sums->timeouts);
}

static __noinline void on_query(struct __sk_buff *skb, const struct dns_parts *parts,
				const struct message *message, struct fg_dns *sums,
				struct exchange *exchange)
{
	struct fg_dns_query *query = &exchange->query;
	struct fg_dns_query *waiting = bpf_map_lookup_elem(&dns_queries, &exchange->id);

	add_one_at(sums->queries, qtype_of(exchange->question.type), FG_QTYPES);
	if (query->key.role & FG_OVER_TCP)
		add_one(&sums->tcp_queries);
	if (is_disappointed(&query->key, query->time))
		sample(skb, parts, &query->key, message, DNS_HEADER + exchange->question.bytes);
	if (waiting) {
		if (!waiting->timed_out && waiting->question == query->question &&
		    query->time - waiting->time < fg_dns_timeout) {
			add_one(&sums->retransmits);
			return;
		}
		expire(waiting);
		bpf_map_update_elem(&dns_queries, &exchange->id, query, BPF_EXIST);
	} else if (!bpf_map_update_elem(&dns_queries, &exchange->id, query, BPF_NOEXIST)) {
		__sync_fetch_and_add(&fg_dns_waiting, 1);
	} else {
		lost(FG_LOST_DNS_QUERIES_FULL);
	}
}

/* The response code, with the part of it that EDNS has where nothing else follows the question. */
static __always_inline u32 code_of(struct __sk_buff *skb, const struct dns_parts *parts,
				   const struct message *message, const u8 *header, u32 question)
{
	u32 code = header[3] & 15, at = message->at + DNS_HEADER + question;
	u8 option[6];

	if (header[6] || header[7] || header[8] || header[9] || header[10] || !header[11])
		return code;
	if (at + sizeof(option) > message->end || load(skb, parts, at, option, sizeof(option)))
		return code;
	if (!option[0] && option[1] == 0 && option[2] == DNS_OPT)
		code |= option[5] << 4;
	return code;
}

static __noinline void on_response(struct __sk_buff *skb, const struct dns_parts *parts,
				   const struct message *message, struct fg_dns *sums,
				   struct exchange *exchange)
{
	struct fg_dns_query *waiting = bpf_map_lookup_elem(&dns_queries, &exchange->id);
	const struct question *question = &exchange->question;
	struct fg_dns_query *query = &exchange->query;
	const u8 *header = exchange->header;
	u32 code = code_of(skb, parts, message, header, question->bytes), bytes;
	bool client = (exchange->id.role & ~FG_OVER_TCP) == FG_CLIENT;
	u64 now = query->time, micros;

	/* Servers that understand nothing of a query send none of it back. */
	if (!waiting || (question->bytes ? waiting->question != query->question : !code)) {
		add_one(&sums->unsolicited);
		return;
	}
	/* The process that sent the query is in its key, and perhaps not in the response's. */
	*query = *waiting;
	if (bpf_map_delete_elem(&dns_queries, &exchange->id)) {
		/* Another CPU had the same answer. */
		add_one(&sums->unsolicited);
		return;
	}
	__sync_fetch_and_sub(&fg_dns_waiting, 1);
	sums = dns_sums(&query->key);
	if (!sums)
		return;
	if (query->timed_out || now - query->time >= fg_dns_timeout) {
		if (!query->timed_out)
			add_one(&sums->timeouts);
		add_one(&sums->late);
		return;
	}
	micros = (now - query->time) / 1000;
	add_one_at(sums->responses, rcode_of(code), FG_RCODES);
	add_one_at(sums->durations, bucket_of(micros, FG_DNS_FIRST, FG_DNS_LAST), FG_DNS_BUCKETS);
	add(&sums->duration_sum, micros);
	if (header[2] & DNS_TRUNCATED)
		add_one(&sums->truncated);
	bytes = DNS_HEADER + question->bytes;
	if (code == DNS_NXDOMAIN)
		disappoint(&query->key, now);
	else if (client && code == DNS_NOERROR && (header[6] || header[7]))
		bytes = message->end - message->at;
	else if (!client || !fg_dns_domains)
		return;
	sample(skb, parts, &query->key, message, bytes | SAMPLE_ANSWER);
}

/* Reads a message's header and question, and sets the role that its packet's socket plays. */
__noinline int read_message(struct __sk_buff *skb, const struct dns_parts *parts,
			    const struct message *message, struct packet *packet,
			    struct exchange *exchange)
{
	u8 *header;
	bool response;

	if (!message || !packet || !exchange)
		return 0;
	header = exchange->header;
	if (message->at + DNS_HEADER > message->end ||
	    load(skb, parts, message->at, header, DNS_HEADER))
		goto unformed;
	response = header[2] & DNS_RESPONSE;
	packet->role = packet->out != response ? FG_CLIENT : FG_SERVER;
	/* Queries go to a port for DNS and responses come from one. */
	if (!is_dns_port(packet->role == FG_CLIENT ? packet->remote_port : packet->own_port))
		goto unformed;
	if (header[4] || header[5])
		exchange->formed = read_question(skb, parts, message->at + DNS_HEADER, message->end,
						 &exchange->question, &exchange->query.question);
	else
		exchange->formed = response;
	return 0;
unformed:
	packet->role = is_dns_port(packet->own_port) ? FG_SERVER : FG_CLIENT;
	return 0;
}

/* Counts a message. */
__noinline int count_dns(struct __sk_buff *skb, const struct dns_parts *parts,
			 const struct message *message, struct packet *packet,
			 const struct fg_socket *socket)
{
	struct exchange exchange = {};
	struct fg_dns *sums;
	bool response;

	if (!message || !packet || !socket)
		return 0;
	read_message(skb, parts, message, packet, &exchange);
	flow_of(&exchange.query.key, socket, packet, packet->role);
	sums = dns_sums(&exchange.query.key);
	if (!sums)
		return 0;
	if (!exchange.formed) {
		add_one(&sums->malformed);
		return 0;
	}
	response = exchange.header[2] & DNS_RESPONSE;
	/* Multicast DNS (RFC 6762) is asked of nobody in particular: nothing is waited for. */
	if (packet->own_port == MDNS_PORT && packet->remote_port == MDNS_PORT) {
		if (response)
			add_one_at(sums->responses, rcode_of(exchange.header[3] & 15), FG_RCODES);
		else
			add_one_at(sums->queries, qtype_of(exchange.question.type), FG_QTYPES);
		return 0;
	}
	__builtin_memcpy(exchange.id.remote, packet->remote, 16);
	exchange.id.remote_port = packet->remote_port;
	exchange.id.own_port = packet->own_port;
	exchange.id.netns = exchange.query.key.netns;
	exchange.id.id = exchange.header[0] << 8 | exchange.header[1];
	exchange.id.role = exchange.query.key.role;
	exchange.query.time = bpf_ktime_get_ns();
	if (response)
		on_response(skb, parts, message, sums, &exchange);
	else
		on_query(skb, parts, message, sums, &exchange);
	return 0;
}

#endif
