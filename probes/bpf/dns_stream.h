/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * DNS over TCP (RFC 7766): messages behind a length of two bytes, several in a segment, any of them
 * split anywhere. Bytes are taken in order; what was sent again is skipped. After a gap, which
 * costs what it hides, the next segment is taken for the begin of a message.
 */
#ifndef FG_DNS_STREAM_H
#define FG_DNS_STREAM_H

#include "dns_message.h"
#include "turn.h"

#define LENGTH_BYTES 2

/* Most steps in a segment: messages, parts of them, what is skipped. What is beyond counts as a
 * gap. */
#define SEGMENT_STEPS 512

enum {
	STREAM_NEW,    /* the next segment is taken for the begin of a message */
	STREAM_SYNCED, /* known where messages begin */
	STREAM_LOST,   /* it is not: older than the exporter, or no DNS */
};

/* One direction of a connection. */
struct dns_stream {
	u32 next; /* the sequence number that comes next */
	u32 skip; /* bytes to the next message */
	u32 have; /* bytes of a message's begin that wait for the rest */
	u32 state;
	u32 busy; /* 1: a CPU is at it */
	u32 pad;
	struct dns_parts parts; /* length and begin of that message */
};

struct dns_streams {
	struct dns_stream direction[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct dns_streams);
} dns_sockets SEC(".maps");

/* What is left of a segment. */
struct segment {
	u32 at;
	u32 end;
};

static __always_inline u32 least(u32 one, u32 other)
{
	return one < other ? one : other;
}

/* What is needed of a message to count it. */
static __always_inline u32 head_of(const u8 *length)
{
	return least(length[0] << 8 | length[1], DNS_HEAD);
}

/* Puts up to `wanted` bytes to those that wait. False if the packet does not give them. */
static __always_inline bool take(struct __sk_buff *skb, struct dns_stream *stream,
				 struct segment *segment, u32 wanted)
{
	u32 bytes = least(wanted, segment->end - segment->at), have = stream->have;

	asm volatile("" : "+r"(have));
	if (!bytes || bytes > DNS_HEAD || have > DNS_HEAD)
		return false;
	if (bpf_skb_load_bytes(skb, segment->at, stream->parts.bytes + have,
			       counting_to(bytes, 512)))
		return false;
	stream->have += bytes;
	segment->at += bytes;
	return true;
}

enum {
	STEP_END,    /* nothing is left */
	STEP_ON,     /* no message yet */
	STEP_PACKET, /* a message, in the packet */
	STEP_PARTS,  /* a message that was put together */
};

/* Goes on to the next message whose head is there. */
__noinline int step(struct __sk_buff *skb, struct dns_stream *stream, struct segment *segment,
		    struct message *message)
{
	u32 left, length, bytes;
	u8 prefix[LENGTH_BYTES];

	if (!stream || !segment || !message || segment->at >= segment->end)
		return STEP_END;
	left = segment->end - segment->at;
	if (stream->skip) {
		bytes = least(stream->skip, left);
		stream->skip -= bytes;
		segment->at += bytes;
		return STEP_ON;
	}
	if (!stream->have && left >= LENGTH_BYTES) {
		if (bpf_skb_load_bytes(skb, segment->at, prefix, sizeof(prefix)))
			return STEP_END;
		length = prefix[0] << 8 | prefix[1];
		if (left - LENGTH_BYTES >= head_of(prefix)) {
			segment->at += LENGTH_BYTES;
			message->at = segment->at;
			message->end = segment->at + least(length, left - LENGTH_BYTES);
			message->length = length;
			stream->skip = length;
			return STEP_PACKET;
		}
	}
	if (stream->have < LENGTH_BYTES)
		return take(skb, stream, segment, LENGTH_BYTES - stream->have) ? STEP_ON : STEP_END;
	length = LENGTH_BYTES + head_of(stream->parts.bytes);
	if (stream->have < length && !take(skb, stream, segment, length - stream->have))
		return STEP_END;
	if (stream->have < length)
		return STEP_ON;
	length = stream->parts.bytes[0] << 8 | stream->parts.bytes[1];
	message->at = LENGTH_BYTES;
	message->end = stream->have;
	message->length = length;
	stream->skip = length - (stream->have - LENGTH_BYTES);
	stream->have = 0;
	return STEP_PARTS;
}

/* Whether the stream's first bytes look like a message of this direction. */
static __noinline bool looks_right(struct __sk_buff *skb, const struct packet *packet,
				   const struct segment *segment)
{
	u8 begin[LENGTH_BYTES + DNS_HEADER];
	bool response;

	/* Too short to tell: the rest will. */
	if (segment->end - segment->at < sizeof(begin))
		return true;
	if (bpf_skb_load_bytes(skb, segment->at, begin, sizeof(begin)))
		return false;
	response = begin[4] & DNS_RESPONSE;
	return (begin[0] << 8 | begin[1]) >= DNS_HEADER && !begin[6] && begin[7] <= 1 &&
	       is_dns_port(packet->out != response ? packet->remote_port : packet->own_port);
}

/* Where in a segment the stream goes on: sets `segment`; false if there is nothing new. */
static __noinline bool go_on(struct __sk_buff *skb, struct dns_stream *stream,
			     const struct packet *packet, struct segment *segment)
{
	u32 sequence, bytes;
	s64 ahead;
	u8 offset;

	/* The header's fields: Sequence Number, Data Offset (RFC 9293). */
	if (bpf_skb_load_bytes(skb, packet->transport + 4, &sequence, sizeof(sequence)) ||
	    bpf_skb_load_bytes(skb, packet->transport + 12, &offset, sizeof(offset)))
		return false;
	sequence = bpf_ntohl(sequence);
	segment->at = packet->transport + (offset >> 4) * 4;
	segment->end = packet->end;
	if (segment->at >= segment->end || stream->state == STREAM_LOST)
		return false;
	bytes = segment->end - segment->at;
	if (stream->state == STREAM_SYNCED) {
		ahead = (int)(sequence - stream->next);
		if (ahead > 0) {
			lost(FG_LOST_DNS_STREAM_GAP);
			stream->state = STREAM_NEW;
		} else if (ahead < 0) {
			if (-ahead >= bytes)
				return false;
			segment->at += -ahead;
		}
	}
	if (stream->state == STREAM_NEW) {
		stream->have = stream->skip = 0;
		if (!looks_right(skb, packet, segment)) {
			lost(FG_LOST_DNS_STREAM_GAP);
			stream->state = STREAM_LOST;
			return false;
		}
		stream->state = STREAM_SYNCED;
	}
	stream->next = sequence + bytes;
	return true;
}

/* Counts the messages whose head ends in a segment. */
static __always_inline void count_segment(struct __sk_buff *skb, struct bpf_sock *sk,
					  struct fg_socket *socket, struct packet *packet)
{
	struct segment segment = {};
	struct message message = {};
	struct dns_streams *streams;
	struct dns_stream *stream;

	streams = bpf_sk_storage_get(&dns_sockets, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	if (!streams)
		streams = bpf_sk_storage_get(&dns_sockets, sk, NULL, 0);
	if (!streams) {
		lost(FG_LOST_SOCKET_MEMORY);
		return;
	}
	stream = &streams->direction[packet->out & 1];
	if (!enter_turn(&stream->busy, FG_LOST_DNS_STREAM_GAP))
		return;
	if (!go_on(skb, stream, packet, &segment)) {
		leave_turn(&stream->busy);
		return;
	}
	for (int i = 0; i < SEGMENT_STEPS; i++) {
		int found = step(skb, stream, &segment, &message);

		if (found == STEP_PACKET)
			count_dns(skb, NULL, &message, packet, socket);
		else if (found == STEP_PARTS)
			count_dns(skb, &stream->parts, &message, packet, socket);
		else if (found == STEP_END)
			goto done;
	}
	lost(FG_LOST_DNS_STREAM_GAP);
	stream->state = STREAM_NEW;
done:
	leave_turn(&stream->busy);
}

#endif
