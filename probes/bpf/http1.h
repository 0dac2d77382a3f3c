/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * HTTP/1.0 and 1.1 (RFC 9112): from head to head, over bodies whose length their heads tell,
 * without a look at them.
 */
#ifndef FG_HTTP1_H
#define FG_HTTP1_H

#include "http_head.h"

enum {
	STEP_DONE, /* nothing is left of the piece */
	STEP_MORE,
	STEP_BROKEN,  /* this is no HTTP */
	STEP_TUNNEL,  /* what follows in both directions is something else */
	STEP_PREFACE, /* HTTP/2 begins here */
};

/* The same one byte at a time, to those that wait already: rarely a head is split. */
__noinline int gather_more(HTTP_CONTEXT *ctx, struct http_stream *stream, u32 at, u32 bytes)
{
	u32 have;

	if (!stream)
		return 0;
	have = stream->have;
	for (u32 i = 0; i < HTTP_LINE; i++) {
		u32 place = have + i;

		if (i >= bytes)
			break;
		asm volatile("" : "+r"(place));
		if (place >= HTTP_LINE || http_load(ctx, at + i, stream->line + place, 1))
			return 0;
	}
	return have + bytes;
}

/* Puts bytes to those that wait, up to `room` in all; returns how many there are then. */
static __always_inline u32 gather(HTTP_CONTEXT *ctx, struct http_stream *stream,
				  const struct http_piece *piece, const u32 room)
{
	u32 have = stream->have, bytes;

	if (have >= room || piece->at >= piece->end)
		return have;
	bytes = http_least(piece->end - piece->at, room - have);
	if (have)
		return gather_more(ctx, stream, piece->at, bytes);
	if (http_load(ctx, piece->at, stream->line, counting_to(bytes, HTTP_LINE)))
		return 0;
	return bytes;
}

/* Skips what is of a body, in this piece and beyond. */
static __always_inline void skip(struct http_stream *stream, struct http_piece *piece, u64 bytes)
{
	u32 left = piece->end - piece->at;

	if (bytes <= left) {
		piece->at += bytes;
	} else {
		piece->at = piece->end;
		stream->at += bytes - left;
	}
}

static __always_inline int begin_request(struct http *http, struct http_stream *stream,
					 struct http_piece *piece, u32 have)
{
	u32 bytes;
	u8 method = method_of(stream, have, &bytes);

	if (method == FG_PREFACE && have >= bytes && stream->flags & HTTP_UNCHECKED)
		return STEP_PREFACE;
	if (have < bytes || method == FG_METHOD_UNKNOWN || method == FG_PREFACE) {
		if (have >= HTTP_TOKEN || !may_be_method(stream, have))
			return STEP_BROKEN;
		stream->have = have;
		piece->at = piece->end;
		return STEP_DONE;
	}
	piece->at += bytes - stream->have;
	stream->have = 0;
	stream->method = method;
	stream->mode = HTTP_HEAD;
	if (!(stream->flags & HTTP_UNCHECKED))
		push_request(http, method, stream->begun);
	return STEP_MORE;
}

/* "HTTP/1." */
#define VERSION_1 0x2e312f50545448ull

static __always_inline bool is_digit(u8 byte)
{
	return byte >= '0' && byte <= '9';
}

/* As much of a status line as counts: "HTTP/1.1 200" and what ends the number. */
#define STATUS_LINE 13

static __always_inline bool is_status_line(const u8 *line)
{
	return (*(const u64 *)line & SEVEN) == VERSION_1 && is_digit(line[7]) && line[8] == ' ' &&
	       is_digit(line[9]) && is_digit(line[10]) && is_digit(line[11]) &&
	       (line[12] == ' ' || line[12] == '\r' || line[12] == '\n');
}

static __always_inline int begin_response(struct http *http, struct http_stream *stream,
					  struct http_piece *piece, u32 have)
{
	const u8 *line = stream->line;
	u16 code;

	if (have < STATUS_LINE) {
		stream->have = have;
		piece->at = piece->end;
		return STEP_DONE;
	}
	if (!is_status_line(line))
		return STEP_BROKEN;
	code = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
	piece->at += STATUS_LINE - 1 - stream->have;
	stream->have = 0;
	stream->mode = HTTP_HEAD;
	stream->status = code;
	stream->method = FG_METHOD_UNKNOWN;
	if (code < 100 || code >= 200 || code == 101)
		stream->method = count_response(http, code, stream->begun);
	return STEP_MORE;
}

/* The begin of a head, or an empty line before it. */
__noinline int begin_head(HTTP_CONTEXT *ctx, struct http *http, struct http_stream *stream,
			  struct http_piece *piece)
{
	u32 have;

	if (!http || !stream || !piece)
		return STEP_DONE;
	if (!stream->have)
		stream->begun = piece->time;
	have = gather(ctx, stream, piece, piece->server ? STATUS_LINE : HTTP_TOKEN);
	if (!have)
		return STEP_BROKEN;
	if (!stream->have && (stream->line[0] == '\r' || stream->line[0] == '\n')) {
		piece->at++;
		return STEP_MORE;
	}
	return piece->server ? begin_response(http, stream, piece, have)
			     : begin_request(http, stream, piece, have);
}

/* As much of a request line's end as tells that it is HTTP/1: " HTTP/1.1" and '\r' or one more. */
#define LINE_TAIL 10

/* Where in a stream's line the last bytes are of a request line that is not all there. */
#define TAIL_AT 16

/* " HTTP/1." */
#define SPACE_VERSION_1 0x2e312f5054544820ull

/*
 * Puts the bytes before `until` to the last ones of the request line, or what there is of them
 * between those that were there before and `until`.
 */
__noinline int keep_tail(HTTP_CONTEXT *ctx, struct http_stream *stream,
			 const struct http_piece *piece, u32 until)
{
	u32 bytes;

	if (!stream || !piece || until < piece->begin)
		return false;
	bytes = until - piece->begin;
	for (u32 i = 0; i < LINE_TAIL; i++) {
		u32 back = LINE_TAIL - i, from = i + bytes;

		if (back <= bytes) {
			if (http_load(ctx, until - back, stream->line + TAIL_AT + i, 1))
				return false;
		} else if (from < LINE_TAIL) {
			asm volatile("" : "+r"(from));
			if (from < LINE_TAIL)
				stream->line[TAIL_AT + i] = stream->line[TAIL_AT + from];
		}
	}
	return true;
}

/* Whether the line that ends at `found` ends with the version. */
static __always_inline bool has_version(HTTP_CONTEXT *ctx, struct http_stream *stream,
					const struct http_piece *piece)
{
	return keep_tail(ctx, stream, piece, piece->found) &&
	       (word_at(stream, TAIL_AT) == SPACE_VERSION_1 ||
		word_at(stream, TAIL_AT + 1) == SPACE_VERSION_1);
}

/* The head is over: what comes is a body, or another head. */
static __always_inline int end_head(struct http_stream *stream, struct http_piece *piece)
{
	u8 flags = stream->flags;
	bool bodiless;

	stream->flags = stream->have = 0;
	stream->mode = HTTP_START;
	if (flags & HTTP_TRAILER)
		return STEP_MORE;
	if (flags & HTTP_BAD || (!piece->server && flags & HTTP_CODED))
		return STEP_BROKEN;
	if (piece->server) {
		u16 code = stream->status;
		bool tunnel = code == 101 || (stream->method == FG_CONNECT && code / 100 == 2);

		if (tunnel)
			return STEP_TUNNEL;
		bodiless =
			code / 100 == 1 || code == 204 || code == 304 || stream->method == FG_HEAD;
		if (bodiless)
			return STEP_MORE;
		/* The answer to a HEAD has no body, whatever it says: was it one? */
		if (stream->method == FG_METHOD_UNKNOWN && flags & (HTTP_CHUNKED | HTTP_LENGTH) &&
		    (flags & HTTP_CHUNKED || stream->length)) {
			stream->mode = HTTP_LOST;
			return STEP_DONE;
		}
	}
	if (flags & HTTP_CHUNKED) {
		stream->mode = HTTP_CHUNK;
	} else if (flags & HTTP_LENGTH) {
		skip(stream, piece, stream->length);
	} else if (piece->server) {
		/* Until the connection ends. */
		piece->at = piece->end;
		stream->at = HTTP_NEVER;
	}
	return STEP_MORE;
}

/* The part of a line of which the begin came before. */
static __always_inline int go_on_with_line(HTTP_CONTEXT *ctx, struct http_stream *stream,
					   struct http_piece *piece)
{
	u32 before = stream->have, have = gather(ctx, stream, piece, HTTP_LINE);
	int field;

	if (have <= before)
		return STEP_BROKEN;
	field = read_field(stream, have);
	if (field == FIELD_WAITS) {
		stream->have = have;
		piece->at = piece->end;
		return STEP_DONE;
	}
	if (field == FIELD_END) {
		piece->at += stream->have - before;
		return end_head(stream, piece);
	}
	stream->have = 0;
	return STEP_MORE;
}

__noinline int go_on_with_head(HTTP_CONTEXT *ctx, struct http *http, struct http_stream *stream,
			       struct http_piece *piece)
{
	bool unchecked;
	u32 have;

	if (!http || !stream || !piece)
		return STEP_DONE;
	if (stream->have)
		return go_on_with_line(ctx, stream, piece);
	unchecked = stream->flags & HTTP_UNCHECKED;
	switch (scan_head(ctx, piece, unchecked)) {
	case HEAD_ON:
		if (unchecked && piece->at >= piece->end)
			keep_tail(ctx, stream, piece, piece->end);
		return STEP_MORE;
	case HEAD_LINE:
		if (!has_version(ctx, stream, piece))
			return STEP_BROKEN;
		stream->flags &= ~HTTP_UNCHECKED;
		push_request(http, stream->method, stream->begun);
		piece->at = piece->found;
		return STEP_MORE;
	case HEAD_END:
		piece->at = piece->found;
		return end_head(stream, piece);
	case HEAD_FIELD:
	case HEAD_WAITS:
		piece->at = piece->found;
		have = gather(ctx, stream, piece, HTTP_LINE);
		if (have && read_field(stream, have) == FIELD_WAITS) {
			stream->have = have;
			piece->at = piece->end;
			return STEP_DONE;
		}
		stream->have = 0;
		/* Behind the line end. */
		piece->at++;
		return STEP_MORE;
	}
	return STEP_BROKEN;
}

/* Most digits of a chunk's size. */
#define CHUNK_DIGITS 15

/* The size of a chunk, behind the line end that closes the chunk before. */
__noinline int begin_chunk(HTTP_CONTEXT *ctx, struct http_stream *stream, struct http_piece *piece)
{
	u32 have, digits = 0;
	bool ended = false;
	u64 size = 0;

	if (!stream || !piece)
		return STEP_DONE;
	have = gather(ctx, stream, piece, HTTP_TOKEN);
	if (!have)
		return STEP_BROKEN;
	if (!stream->have && (stream->line[0] == '\r' || stream->line[0] == '\n')) {
		piece->at++;
		return STEP_MORE;
	}
	for (u32 i = 0; i < HTTP_TOKEN; i++) {
		u8 byte = stream->line[i], letter = byte | 0x20;

		if (i >= have)
			break;
		if (is_digit(byte)) {
			size = size << 4 | (byte - '0');
		} else if (letter >= 'a' && letter <= 'f') {
			size = size << 4 | (letter - 'a' + 10);
		} else {
			ended = byte == ';' || byte == '\r' || byte == '\n' || byte == ' ' ||
				byte == '\t';
			if (!ended)
				return STEP_BROKEN;
			break;
		}
		digits++;
	}
	if (digits > CHUNK_DIGITS || (ended && !digits))
		return STEP_BROKEN;
	if (!ended) {
		stream->have = have;
		piece->at = piece->end;
		return STEP_DONE;
	}
	piece->at += digits - stream->have;
	stream->have = 0;
	stream->length = size;
	stream->mode = HTTP_EXTENSION;
	return STEP_MORE;
}

/* The rest of the line with the size of a chunk. */
static __always_inline int end_chunk_line(HTTP_CONTEXT *ctx, struct http_stream *stream,
					  struct http_piece *piece)
{
	int found = scan_head(ctx, piece, true);

	if (found == HEAD_ON)
		return STEP_MORE;
	if (found != HEAD_LINE)
		return STEP_BROKEN;
	piece->at = piece->found;
	if (!stream->length) {
		/* The line end is the begin of a line, as in a head. */
		stream->mode = HTTP_HEAD;
		stream->flags = HTTP_TRAILER;
		return STEP_MORE;
	}
	piece->at++;
	stream->mode = HTTP_CHUNK;
	skip(stream, piece, stream->length);
	return STEP_MORE;
}

/* Goes on to the next thing that matters. */
static __always_inline int step_http1(HTTP_CONTEXT *ctx, struct http *http,
				      struct http_stream *stream, struct http_piece *piece)
{
	if (!http || !stream || !piece || piece->at >= piece->end)
		return STEP_DONE;
	switch (stream->mode) {
	case HTTP_START:
		return begin_head(ctx, http, stream, piece);
	case HTTP_HEAD:
		return go_on_with_head(ctx, http, stream, piece);
	case HTTP_CHUNK:
		return begin_chunk(ctx, stream, piece);
	case HTTP_EXTENSION:
		return end_chunk_line(ctx, stream, piece);
	}
	return STEP_DONE;
}

#endif
