/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Looking through the heads of HTTP/1 (RFC 9112): for their ends, for the fields that frame a body,
 * and at the begin of their first lines. Eight bytes at a time: most of a head is none of these.
 */
#ifndef FG_HTTP_HEAD_H
#define FG_HTTP_HEAD_H

#include "http.h"

#define HTTP_WORDS  16
#define HTTP_WINDOW (HTTP_WORDS * 8)

enum {
	HEAD_ON,     /* nothing yet */
	HEAD_LINE,   /* a line ends at `found` */
	HEAD_END,    /* the head ends before `found` */
	HEAD_FIELD,  /* a field that may matter begins behind the line end at `found` */
	HEAD_WAITS,  /* what is behind the line end at `found` is not all there */
	HEAD_UNREAD, /* the bytes cannot be read */
};

/* The bits 7 of all bytes that are '\n'. */
static __always_inline u64 line_ends(u64 word)
{
	const u64 low = 0x7f7f7f7f7f7f7f7full;
	u64 rest = word ^ 0x0a0a0a0a0a0a0a0aull;

	return ~((((rest & low) + low) | rest) | low);
}

/* Which byte the lowest of these bits is of. */
static __always_inline u32 first_of(u64 bits)
{
	return ((bits & -bits) >> 7) * 0x0001020304050607ull >> 56;
}

#define LOWER	 0x2020202020202020ull
#define CONTENT_ 0x2d746e65746e6f63ull /* "content-" */
#define TRANSFER 0x726566736e617274ull /* "transfer" */

static __always_inline bool may_matter(u64 begin)
{
	u64 name = begin | LOWER;

	return name == CONTENT_ || name == TRANSFER;
}

/* What is found, and at which byte from the begin of a word. */
#define FOUND(what, byte) ((what) << 8 | (byte))

/* Whether "content-" goes on with a 't', which nearly every head has, where that can be seen. */
static __always_inline bool is_type(u64 begin, u64 next, u32 byte)
{
	return (begin | LOWER) == CONTENT_ && byte < 7 && ((next >> (byte + 1) * 8) & 0xdf) == 'T';
}

/*
 * Looks at the lines that end in a word, of which `rest` bytes are there: what follows reaches into
 * the next word. HEAD_WAITS if nothing of it matters, with the last of these ends.
 */
__noinline int look_at_lines(u64 word, u64 next, u32 rest, bool any_line)
{
	u64 ends = line_ends(word);
	u32 byte = 0;

	for (u32 i = 0; i < 8 && ends; i++) {
		u64 begin;

		byte = first_of(ends) & 7;
		begin = byte == 7 ? next : word >> (byte + 1) * 8 | next << (7 - byte) * 8;
		ends &= ends - 1;
		if (any_line)
			return FOUND(HEAD_LINE, byte);
		if ((begin & 0xff) == '\n' && byte + 1 < rest)
			return FOUND(HEAD_END, byte + 2);
		if ((begin & 0xffff) == ('\r' | '\n' << 8) && byte + 2 < rest)
			return FOUND(HEAD_END, byte + 3);
		if (may_matter(begin) && byte + 8 < rest && !is_type(begin, next, byte))
			return FOUND(HEAD_FIELD, byte);
	}
	return FOUND(HEAD_WAITS, byte);
}

/*
 * Looks through a window of a head that does not begin a line: to the next thing that matters, or
 * to the window's end. With `any_line`, any end of a line does.
 */
__noinline int scan_head(HTTP_CONTEXT *ctx, struct http_piece *piece, bool any_line)
{
	u64 words[HTTP_WORDS + 1] = {};
	u32 left, bytes, used, last = HTTP_WINDOW;

	if (!piece || piece->at >= piece->end)
		return HEAD_UNREAD;
	left = piece->end - piece->at;
	bytes = http_least(left, HTTP_WINDOW);
	if (http_load(ctx, piece->at, words, counting_to(bytes, HTTP_WINDOW)))
		return HEAD_UNREAD;
	/* A line's begin reaches into the next word: but for the last window, that is looked at
	 * with the next one. */
	used = left > HTTP_WINDOW ? HTTP_WORDS - 1 : HTTP_WORDS;
	for (u32 i = 0; i < HTTP_WORDS; i++) {
		u32 found;

		if (i >= used)
			break;
		if (!line_ends(words[i]))
			continue;
		found = look_at_lines(words[i], words[i + 1], bytes - i * 8, any_line);
		last = i * 8 + (found & 255);
		if (found >> 8 != HEAD_WAITS) {
			piece->found = piece->at + last;
			return found >> 8;
		}
	}
	if (left <= HTTP_WINDOW && last < left && left - last <= 8) {
		piece->found = piece->at + last;
		return HEAD_WAITS;
	}
	piece->at += left > HTTP_WINDOW ? HTTP_WINDOW - 8 : bytes;
	return HEAD_ON;
}

enum {
	FIELD_DONE,  /* nothing more is to be learned from it */
	FIELD_WAITS, /* it is not all there */
	FIELD_END,   /* it is the empty line */
};

/* struct http_stream.digits: something followed them. */
#define DIGITS_OVER 128

/* Takes a byte of the value of Content-Length; true if that is over. */
__noinline int take_digit(struct http_stream *stream, u32 byte)
{
	u8 digits;

	if (!stream)
		return true;
	digits = stream->digits;
	if (byte >= '0' && byte <= '9' && digits < 18) {
		stream->value = stream->value * 10 + (byte - '0');
		stream->digits = digits + 1;
		return false;
	}
	if (byte == ' ' || byte == '\t' || byte == '\r') {
		stream->digits = digits ? digits | DIGITS_OVER : 0;
		return false;
	}
	/* One that follows the blank after others is no part of the number. */
	if (byte != '\n' || !digits ||
	    (stream->flags & HTTP_LENGTH && stream->length != stream->value))
		stream->flags |= HTTP_BAD;
	stream->length = stream->value;
	stream->flags |= HTTP_LENGTH;
	return true;
}

/*
 * Reads the value of Content-Length. It is counted with in another function, or the verifier would
 * go on for every number of digits.
 */
__noinline int read_length(struct http_stream *stream, u32 have)
{
	if (!stream)
		return FIELD_DONE;
	stream->value = 0;
	stream->digits = 0;
	for (u32 i = 16; i < HTTP_LINE; i++) {
		if (i >= have)
			break;
		if (take_digit(stream, stream->line[i]))
			return FIELD_DONE;
	}
	if (have < HTTP_LINE)
		return FIELD_WAITS;
	stream->flags |= HTTP_BAD;
	return FIELD_DONE;
}

#define CHUNKED_ 0x64656b6e756863ull /* "chunked" */
#define SEVEN	 0x00ffffffffffffffull

/* Takes a byte of the value of Transfer-Encoding; true if that is over. */
__noinline int take_letter(struct http_stream *stream, u32 byte)
{
	if (!stream)
		return true;
	if (byte == '\n') {
		stream->flags &= ~(HTTP_CHUNKED | HTTP_CODED);
		stream->flags |= (stream->value & SEVEN) == CHUNKED_ ? HTTP_CHUNKED : HTTP_CODED;
		return true;
	}
	/* The last seven letters, the newest in the highest of seven bytes. */
	if (byte != ' ' && byte != '\t' && byte != '\r')
		stream->value = stream->value >> 8 | (u64)((byte & 255) | 0x20) << 48;
	return false;
}

/* Reads whether Transfer-Encoding ends with chunked (RFC 9112, section 6.1). */
__noinline int read_coding(struct http_stream *stream, u32 have)
{
	if (!stream)
		return FIELD_DONE;
	stream->value = 0;
	for (u32 i = 19; i < HTTP_LINE; i++) {
		if (i >= have)
			break;
		if (take_letter(stream, stream->line[i]))
			return FIELD_DONE;
	}
	if (have < HTTP_LINE)
		return FIELD_WAITS;
	stream->flags |= HTTP_BAD;
	return FIELD_DONE;
}

static __always_inline u64 word_at(const struct http_stream *stream, const u32 at)
{
	return *(const u64 *)(stream->line + at);
}

/* Whether the line ends before a value can begin. */
__noinline int ends_early(const struct http_stream *stream, u32 have)
{
	u32 ends = 0;

	if (!stream)
		return false;
	for (u32 i = 1; i < 19; i++) {
		if (i >= have)
			break;
		ends |= stream->line[i] == '\n';
	}
	return ends;
}

/*
 * Reads the line of which `have` bytes are at hand, from the line end before it on. The empty line
 * ends the head; `stream->have` is its length then.
 */
__noinline int read_field(struct http_stream *stream, u32 have)
{
	bool ends;

	if (!stream || have > HTTP_LINE)
		return FIELD_DONE;
	if (have > 1 && stream->line[1] == '\n') {
		stream->have = 2;
		return FIELD_END;
	}
	if (have > 2 && stream->line[1] == '\r' && stream->line[2] == '\n') {
		stream->have = 3;
		return FIELD_END;
	}
	ends = ends_early(stream, have);
	/* A line that ends before its value would begin has none. */
	if (have < 9)
		return ends ? FIELD_DONE : FIELD_WAITS;
	if (!may_matter(word_at(stream, 1)))
		return FIELD_DONE;
	if ((word_at(stream, 1) | LOWER) == CONTENT_) {
		if (have < 17)
			return ends ? FIELD_DONE : FIELD_WAITS;
		/* "length" and a colon */
		if (((word_at(stream, 9) | 0x202020202020ull) & SEVEN) != 0x3a6874676e656cull)
			return FIELD_DONE;
		return read_length(stream, have);
	}
	if (have < 19)
		return ends ? FIELD_DONE : FIELD_WAITS;
	/* "-encodin", "g:" */
	if ((word_at(stream, 9) | LOWER) != 0x6e69646f636e652dull ||
	    (stream->line[17] | 0x20) != 'g' || stream->line[18] != ':')
		return FIELD_DONE;
	return read_coding(stream, have);
}

/* Longest begin of a request line that tells its method, or what of a status line counts. */
#define HTTP_TOKEN 24

/*
 * How many of the bytes at the line's begin may be of a method's name: nearly all registered ones
 * are of letters, some have a dash.
 */
__noinline int name_bytes_of(const struct http_stream *stream, u32 have)
{
	u32 bytes = 0, more = 1;

	if (!stream)
		return 0;
	for (u32 i = 0; i < HTTP_TOKEN; i++) {
		u32 byte = stream->line[i], letter = (byte | 0x20) - 'a';

		if (i >= have)
			break;
		more &= (letter < 26) | (byte == '-') | (byte == '_');
		bytes += more;
	}
	return bytes;
}

/* The method at the line's begin; FG_METHOD_UNKNOWN: none. */
static __always_inline u8 method_of(const struct http_stream *stream, u32 have, u32 *bytes)
{
	u64 word = word_at(stream, 0);

	*bytes = 4;
	if ((u32)word == 0x20544547)
		return FG_GET;
	if ((u32)word == 0x20545550)
		return FG_PUT;
	*bytes = 5;
	if ((word & 0xffffffffffull) == 0x2054534f50ull)
		return FG_POST;
	if ((word & 0xffffffffffull) == 0x2044414548ull)
		return FG_HEAD;
	*bytes = 6;
	if ((word & 0xffffffffffffull) == 0x204543415254ull)
		return FG_TRACE;
	if ((word & 0xffffffffffffull) == 0x204843544150ull)
		return FG_PATCH;
	*bytes = 7;
	if ((word & SEVEN) == 0x204554454c4544ull)
		return FG_DELETE;
	*bytes = 8;
	if (word == 0x20534e4f4954504full)
		return FG_OPTIONS;
	if (word == 0x205443454e4e4f43ull)
		return FG_CONNECT;
	/* "PRI * HT", which no request of HTTP/1 begins with. */
	if (word == 0x5448202a20495250ull)
		return FG_PREFACE;
	/* Which it may yet become. */
	if (have < 8 && (u32)word == 0x20495250)
		return FG_METHOD_UNKNOWN;
	*bytes = name_bytes_of(stream, have) + 1;
	return *bytes > 1 && *bytes <= have && stream->line[(*bytes - 1) & (HTTP_LINE - 1)] == ' '
		       ? FG_METHOD_OTHER
		       : FG_METHOD_UNKNOWN;
}

/* Whether the bytes at hand may yet become a method's name and a space, or HTTP/2's preface. */
static __always_inline bool may_be_method(const struct http_stream *stream, u32 have)
{
	return name_bytes_of(stream, have) == have ||
	       (have >= 4 && (u32)word_at(stream, 0) == 0x20495250);
}

#endif
