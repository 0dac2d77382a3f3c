/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * HTTP/2 (RFC 9113): from frame to frame. Those that tell of requests and responses go to user
 * space, which keeps the header tables (RFC 7541); all others are skipped without a look at them.
 */
#ifndef FG_HTTP2_H
#define FG_HTTP2_H

#include "http1.h"

#define FRAME_HEADER 9
#define PREFACE	     24

/* Types of frame (RFC 9113, section 6). */
enum {
	FRAME_HEADERS = 1,
	FRAME_RST_STREAM = 3,
	FRAME_SETTINGS = 4,
	FRAME_PUSH_PROMISE = 5,
	FRAME_CONTINUATION = 9,
	/* What is told besides. */
	FRAME_GAP = 254,
	FRAME_END = 255,
};

/* A piece of a frame, and what is told besides; its bytes follow. */
struct fg_http2 {
	struct fg_key key;
	__u64 time; /* nanoseconds of the monotonic clock */
	__u64 connection;
	__u32 number; /* of the records of this direction, lost ones included; FRAME_END: how many
		       */
	__u32 stream;
	__u32 length; /* of the frame's payload; FRAME_END: how many the server's direction had */
	__u32 offset; /* in it */
	__u16 bytes;
	__u8 type;
	__u8 flags; /* FRAME_END: enum fg_unanswered */
	__u8 from_client;
	__u8 whole;
	__u16 pad;
};

/* Longest piece. */
#define FG_HTTP2_PIECE 4096

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 * 1024 * 1024);
} http2_records SEC(".maps");

/* User space is woken each time that so much more waits, a power of two. */
#define WAKE_EACH (512 * 1024)

u64 fg_http2_written; /* records */
u64 fg_http2_ids;

/* A frame's header as it passes. */
static __always_inline u32 frame_length(const u8 *line)
{
	return line[0] << 16 | line[1] << 8 | line[2];
}

static __always_inline u32 frame_stream(const u8 *line)
{
	return (u32)(line[5] & 127) << 24 | line[6] << 16 | line[7] << 8 | line[8];
}

static __always_inline void fill_record(struct fg_http2 *record, const struct http *http,
					const struct http_stream *stream, u8 type)
{
	record->key = http->key;
	record->time = bpf_ktime_get_ns();
	record->connection = http->id;
	record->number = stream->number;
	record->stream = frame_stream(stream->line);
	record->length = frame_length(stream->line);
	record->offset = 0;
	record->bytes = 0;
	record->type = type;
	record->flags = stream->line[4];
	record->from_client = stream == &http->from_client;
	record->whole = http->whole;
	record->pad = 0;
}

static __always_inline void submit(struct fg_http2 *record, u32 bytes)
{
	u64 waits = bpf_ringbuf_query(&http2_records, BPF_RB_AVAIL_DATA);
	bool wake = waits / WAKE_EACH != (waits - bytes) / WAKE_EACH;

	bpf_ringbuf_submit(record, wake ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
	__sync_fetch_and_add(&fg_http2_written, 1);
}

/* Tells something without bytes. */
static __always_inline void tell(struct http *http, struct http_stream *stream, u8 type, u8 flags)
{
	struct fg_http2 *record = bpf_ringbuf_reserve(&http2_records, sizeof(*record), 0);

	if (record) {
		fill_record(record, http, stream, type);
		record->flags = flags;
		submit(record, sizeof(*record));
	} else {
		lost(FG_LOST_HTTP2_RING_FULL);
	}
	stream->number++;
}

/* Tells that the connection is over, and how many records there were. */
static __always_inline void tell_end(struct http *http, u8 why)
{
	struct fg_http2 *record = bpf_ringbuf_reserve(&http2_records, sizeof(*record), 0);

	if (!record) {
		lost(FG_LOST_HTTP2_RING_FULL);
		return;
	}
	fill_record(record, http, &http->from_client, FRAME_END);
	record->flags = why;
	record->length = http->from_server.number;
	submit(record, sizeof(*record));
}

/* Hands out bytes in a record with room for `room`, a constant and a power of two. */
static __always_inline bool hand_out(HTTP_CONTEXT *ctx, struct http *http,
				     struct http_stream *stream, const struct http_piece *piece,
				     u32 bytes, const u32 room)
{
	struct fg_http2 *record = bpf_ringbuf_reserve(&http2_records, sizeof(*record) + room, 0);

	if (!record)
		return false;
	if (http_load(ctx, piece->at, record + 1, counting_to(bytes, room))) {
		bpf_ringbuf_discard(record, BPF_RB_NO_WAKEUP);
		return false;
	}
	fill_record(record, http, stream, stream->line[3]);
	record->offset = frame_length(stream->line) - stream->length;
	record->bytes = bytes;
	submit(record, sizeof(*record) + room);
	return true;
}

/* The next piece of a frame's payload; `stream->length` is what is left of that. */
__noinline int step_payload(HTTP_CONTEXT *ctx, struct http *http, struct http_stream *stream,
			    struct http_piece *piece)
{
	bool done;
	u32 bytes;

	if (!http || !stream || !piece || piece->at >= piece->end || !stream->length)
		return STEP_DONE;
	bytes = http_least(piece->end - piece->at, stream->length);
	bytes = http_least(bytes, FG_HTTP2_PIECE);
	/* Most header blocks are a few indexes. */
	if (bytes <= 32)
		done = hand_out(ctx, http, stream, piece, bytes, 32);
	else if (bytes <= 128)
		done = hand_out(ctx, http, stream, piece, bytes, 128);
	else if (bytes <= 512)
		done = hand_out(ctx, http, stream, piece, bytes, 512);
	else
		done = hand_out(ctx, http, stream, piece, bytes, FG_HTTP2_PIECE);
	if (!done)
		lost(FG_LOST_HTTP2_RING_FULL);
	stream->number++;
	piece->at += bytes;
	stream->length -= bytes;
	if (!stream->length)
		stream->mode = HTTP_FRAME;
	return STEP_MORE;
}

/* The next frame's header. */
__noinline int step_frame(HTTP_CONTEXT *ctx, struct http *http, struct http_stream *stream,
			  struct http_piece *piece)
{
	u32 have, length;
	u8 type, flags;

	if (!http || !stream || !piece || piece->at >= piece->end)
		return STEP_DONE;
	have = gather(ctx, stream, piece, FRAME_HEADER);
	if (!have)
		return STEP_BROKEN;
	if (have < FRAME_HEADER) {
		stream->have = have;
		piece->at = piece->end;
		return STEP_DONE;
	}
	piece->at += FRAME_HEADER - stream->have;
	stream->have = 0;
	length = frame_length(stream->line);
	type = stream->line[3];
	flags = stream->line[4];
	stream->length = length;
	if (type == FRAME_HEADERS || type == FRAME_CONTINUATION || type == FRAME_PUSH_PROMISE ||
	    type == FRAME_RST_STREAM) {
		if (length)
			stream->mode = HTTP_PAYLOAD;
		else
			tell(http, stream, type, flags);
		return STEP_MORE;
	}
	skip(stream, piece, length);
	return STEP_MORE;
}

#endif
