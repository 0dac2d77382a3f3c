/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * DNS (RFC 1035): every query and every response that passes a socket, counted by flow and matched
 * with each other by both ends' ports, the server's or client's address, the id and the question.
 *
 * Who sends queries is the client, whatever its port.
 */
#ifndef FG_DNS_H
#define FG_DNS_H

#include "sums.h"

#define DNS_HEADER   12
#define DNS_NAME     255
#define DNS_HEAD     (DNS_HEADER + DNS_NAME + 4)
#define DNS_OPT	     41
#define DNS_NOERROR  0
#define DNS_NXDOMAIN 3

#define FG_DNS_PORTS 8
#define MDNS_PORT    5353

/* As in packets/counts.rs, in its order. */
enum fg_qtype {
	FG_A,
	FG_AAAA,
	FG_ANY,
	FG_AXFR,
	FG_CAA,
	FG_CNAME,
	FG_DNSKEY,
	FG_DS,
	FG_HTTPS,
	FG_MX,
	FG_NAPTR,
	FG_NS,
	FG_PTR,
	FG_SOA,
	FG_SRV,
	FG_SVCB,
	FG_TXT,
	FG_QTYPE_OTHER,
	FG_QTYPES,
};

enum fg_rcode {
	/* As in the header up to NOTZONE, 10. */
	FG_BADVERS = 11,
	FG_BADCOOKIE,
	FG_RCODE_OTHER,
	FG_RCODES,
};

/* Histogram of response times: upper bounds are 2^first … 2^last microseconds, then +Inf. */
#define FG_DNS_FIRST   7  /* 128 us */
#define FG_DNS_LAST    23 /* 8.4 s */
#define FG_DNS_BUCKETS (FG_DNS_LAST - FG_DNS_FIRST + 2)

/* What a flow's messages are added up in. */
struct fg_dns {
	__u64 duration_sum; /* microseconds */
	__u32 queries[FG_QTYPES];
	__u32 responses[FG_RCODES];
	__u32 durations[FG_DNS_BUCKETS];
	__u32 retransmits;
	__u32 timeouts;
	__u32 late;
	__u32 unsolicited;
	__u32 truncated;
	__u32 tcp_queries;
	__u32 malformed;
	__u32 pad;
};

struct dns_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 32768);
	__type(key, struct fg_key);
	__type(value, struct fg_dns);
} dns_a SEC(".maps"), dns_b SEC(".maps");

/* One slot: the map being written, as with the sums of closed TCP sockets. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, u32);
	__array(values, struct dns_map);
} dns_flows SEC(".maps") = {
	.values = {[0] = &dns_a},
};

/* A query that waits for its answer. */
struct fg_dns_id {
	u8 remote[16]; /* the other end */
	u32 netns;
	u16 own_port;
	u16 remote_port;
	u16 id;
	u8 role; /* enum fg_role, and FG_OVER_TCP */
	u8 pad;
	u32 pad2;
};

struct fg_dns_query {
	u64 time;     /* when it was sent first, nanoseconds of the monotonic clock */
	u64 question; /* hash of the name, folded to lower case, and of type and class */
	struct fg_key key;
	u64 timed_out; /* 1: counted as timed out, and kept to know a late answer */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct fg_dns_id);
	__type(value, struct fg_dns_query);
} dns_queries SEC(".maps");

const volatile u16 fg_dns_ports[FG_DNS_PORTS];
const volatile u64 fg_dns_timeout; /* nanoseconds */
const volatile u64 fg_seed;	   /* of hashes: nobody outside knows it */

u64 fg_dns_pending; /* entries in the map that is being written */
u64 fg_dns_waiting; /* entries in dns_queries */

static const struct fg_dns no_dns;

struct question {
	u32 bytes; /* of name, type and class */
	u16 type;
	u16 pad;
};

/* Whether either of a packet's ports is one of DNS: most have none, and come by here. */
static __always_inline bool has_dns_port(u16 one, u16 other)
{
	bool found = false;

	/* Unrolled, for the verifier to know the ports, and leave out what is none. */
#pragma unroll
	for (int i = 0; i < FG_DNS_PORTS; i++) {
		u16 port = fg_dns_ports[i];

		if (!port)
			break;
		found |= (port == one) | (port == other);
	}
	return found;
}

static __noinline bool is_dns_port(u16 port)
{
	return has_dns_port(port, port);
}

static __always_inline struct fg_dns *dns_sums(const struct fg_key *key)
{
	u32 slot = 0;
	void *map = bpf_map_lookup_elem(&dns_flows, &slot);
	struct fg_dns *sums;

	if (!map)
		return NULL;
	sums = bpf_map_lookup_elem(map, key);
	if (sums)
		return sums;
	if (!bpf_map_update_elem(map, key, &no_dns, BPF_NOEXIST))
		__sync_fetch_and_add(&fg_dns_pending, 1);
	sums = bpf_map_lookup_elem(map, key);
	if (!sums)
		lost(FG_LOST_DNS_FLOWS_FULL);
	return sums;
}

/* The begin of a message that was split, put together again. */
struct dns_parts {
	u8 bytes[1024];
};

/* Bytes of a message: in the packet, or where the parts of it were put together. */
static __always_inline long load(struct __sk_buff *skb, const struct dns_parts *parts, u32 at,
				 void *to, u32 bytes)
{
	if (parts)
		return bpf_probe_read_kernel(to, bytes, parts->bytes + (at & 511));
	return bpf_skb_load_bytes(skb, at, to, bytes);
}

/* Eight bytes at once: ASCII letters in lower case (RFC 4343), all others as they are. */
static __always_inline u64 fold(u64 word)
{
	const u64 ones = 0x0101010101010101ull;
	u64 seven = word & 0x7f * ones;
	u64 from_a = seven + (0x80 - 'A') * ones, above_z = seven + (0x7f - 'Z') * ones;
	u64 capital = (from_a ^ above_z) & ~word & 0x80 * ones;

	return word | capital >> 2;
}

static __always_inline u64 mix(u64 hash, u64 word)
{
	hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
	return hash ^ hash >> 32;
}

/*
 * The functions of a question are global, so that the verifier goes through each of their loops
 * once and not for every length of a name.
 */

/* Bytes of the name at `at`; 0 if it is not all there, or compressed. */
__noinline int name_bytes(struct __sk_buff *skb, const struct dns_parts *parts, u32 at, u32 end)
{
	u32 name = 0;
	u8 label;

	for (int i = 0; i <= DNS_NAME / 2; i++) {
		if (at + name >= end || load(skb, parts, at + name, &label, 1) || label > 63)
			return 0;
		name += label + 1;
		if (name > DNS_NAME)
			return 0;
		if (!label)
			return name;
	}
	return 0;
}

/* Hashes the bytes at `at`, letters in lower case; false if they are not there. */
__noinline int hash_question(struct __sk_buff *skb, const struct dns_parts *parts, u32 at, u32 left,
			     u64 *result)
{
	u64 hash = fg_seed, word;
	u32 bytes;

	if (!result)
		return 0;
	for (int i = 0; i <= (DNS_NAME + 4) / 8 && left; i++) {
		bytes = left < 8 ? left : 8;
		word = 0;
		if (load(skb, parts, at, &word, counting_to(bytes, 8)))
			return 0;
		hash = mix(hash, fold(word));
		at += bytes;
		left -= bytes;
	}
	*result = hash;
	return !left;
}

/* Reads the question at `at`: its type, and what tells it from others. False if it is not all
 * there. */
static __always_inline bool read_question(struct __sk_buff *skb, const struct dns_parts *parts,
					  u32 at, u32 end, struct question *question, u64 *hash)
{
	u32 name = name_bytes(skb, parts, at, end);

	if (!name || name > DNS_NAME || at + name + 4 > end)
		return false;
	if (load(skb, parts, at + name, &question->type, sizeof(question->type)))
		return false;
	question->type = bpf_ntohs(question->type);
	question->bytes = name + 4;
	return hash_question(skb, parts, at, name + 4, hash);
}

static __always_inline u32 qtype_of(u16 type)
{
	switch (type) {
	case 1:
		return FG_A;
	case 2:
		return FG_NS;
	case 5:
		return FG_CNAME;
	case 6:
		return FG_SOA;
	case 12:
		return FG_PTR;
	case 15:
		return FG_MX;
	case 16:
		return FG_TXT;
	case 28:
		return FG_AAAA;
	case 33:
		return FG_SRV;
	case 35:
		return FG_NAPTR;
	case 43:
		return FG_DS;
	case 48:
		return FG_DNSKEY;
	case 64:
		return FG_SVCB;
	case 65:
		return FG_HTTPS;
	case 252:
		return FG_AXFR;
	case 255:
		return FG_ANY;
	case 257:
		return FG_CAA;
	default:
		return FG_QTYPE_OTHER;
	}
}

static __always_inline u32 rcode_of(u32 code)
{
	if (code <= 10)
		return code;
	return code == 16 ? FG_BADVERS : code == 23 ? FG_BADCOOKIE : FG_RCODE_OTHER;
}

#endif
