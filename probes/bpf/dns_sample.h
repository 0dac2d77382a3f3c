/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * DNS messages for user space: answers that tell whose an address is, and what shows that a
 * resolver works through its search list. User space empties the ring each second; what finds it
 * full is counted, and only names suffer.
 */
#ifndef FG_DNS_SAMPLE_H
#define FG_DNS_SAMPLE_H

/* Longest part of a message that is handed out. */
#define FG_SAMPLE 4096

struct fg_sample {
	struct fg_key key;
	__u64 time;   /* nanoseconds of the monotonic clock */
	__u32 length; /* of the message */
	__u16 bytes;  /* of it that follow */
	__u8 answer;  /* 1: the first answer to a query of this flow */
	__u8 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 2 * 1024 * 1024);
} dns_samples SEC(".maps");

/* Clients that were told NXDOMAIN lately, and when. */
struct fg_dns_client {
	u8 remote[16]; /* zeros: in this namespace */
	u32 netns;
	u32 role;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct fg_dns_client);
	__type(value, u64);
} dns_disappointed SEC(".maps");

/* A resolver that works through its search list goes on at once. */
#define SEARCH_NS 1000000000ull

const volatile bool fg_dns_domains; /* every first answer is wanted */

u64 fg_dns_sampled;   /* records written */
u64 fg_dns_last_none; /* when a client was told NXDOMAIN last */

/* Where a message is, in its packet or in what was put together. */
struct message {
	u32 at;
	u32 end;    /* of what there is of it */
	u32 length; /* of all of it */
	u32 pad;
};

/* Hands out a message in a record with room for `room` bytes of it, a constant and a power of two.
 */
static __always_inline void sample_into(struct __sk_buff *skb, const struct dns_parts *parts,
					const struct fg_key *key, const struct message *message,
					u32 bytes, bool answer, const u32 room)
{
	struct fg_sample *record = bpf_ringbuf_reserve(&dns_samples, sizeof(*record) + room, 0);

	if (!record) {
		lost(FG_LOST_DNS_RING_FULL);
		return;
	}
	if (bytes > room)
		bytes = room;
	if (!bytes || load(skb, parts, message->at, record + 1, counting_to(bytes, room))) {
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
		lost(FG_LOST_DNS_RING_FULL);
		return;
	}
	record->key = *key;
	record->time = bpf_ktime_get_ns();
	record->length = message->length;
	record->bytes = bytes;
	record->answer = answer;
	record->pad = 0;
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	__sync_fetch_and_add(&fg_dns_sampled, 1);
}

#define SAMPLE_ANSWER (1u << 31)

/* Hands out a message: `what` is how many bytes of it, with SAMPLE_ANSWER if it is one. */
__noinline int sample(struct __sk_buff *skb, const struct dns_parts *parts,
		      const struct fg_key *key, const struct message *message, u32 what)
{
	u32 bytes = what & ~SAMPLE_ANSWER;
	bool answer = what & SAMPLE_ANSWER;

	if (!key || !message)
		return 0;
	if (bytes <= 128)
		sample_into(skb, parts, key, message, bytes, answer, 128);
	else if (bytes <= 512)
		sample_into(skb, parts, key, message, bytes, answer, 512);
	else
		sample_into(skb, parts, key, message, bytes, answer, FG_SAMPLE);
	return 0;
}

static __always_inline void client_of(struct fg_dns_client *client, const struct fg_key *key)
{
	client->netns = key->netns;
	client->role = key->role;
	if ((key->role & ~FG_OVER_TCP) == FG_SERVER)
		__builtin_memcpy(client->remote, key->remote, 16);
}

static __noinline void disappoint(const struct fg_key *key, u64 now)
{
	struct fg_dns_client client = {};

	client_of(&client, key);
	bpf_map_update_elem(&dns_disappointed, &client, &now, BPF_ANY);
	fg_dns_last_none = now;
}

static __noinline bool is_disappointed(const struct fg_key *key, u64 now)
{
	struct fg_dns_client client = {};
	u64 *when;

	if (now - fg_dns_last_none >= SEARCH_NS)
		return false;
	client_of(&client, key);
	when = bpf_map_lookup_elem(&dns_disappointed, &client);
	return when && now - *when < SEARCH_NS;
}

#endif
