/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * HTTP: one connection's state, and what requests and responses are added up in.
 *
 * Nothing here, in http_head.h, http1.h and http2.h knows where bytes come from: whoever includes
 * them defines HTTP_CONTEXT, the program's context, and http_load(context, at, to, bytes), which
 * copies from it.
 */
#ifndef FG_HTTP_H
#define FG_HTTP_H

#include "sums.h"

/* As in packets/http_counts.rs, in its order. */
enum fg_method {
	FG_METHOD_UNKNOWN,
	FG_GET,
	FG_HEAD,
	FG_POST,
	FG_PUT,
	FG_DELETE,
	FG_CONNECT,
	FG_OPTIONS,
	FG_TRACE,
	FG_PATCH,
	FG_METHOD_OTHER,
	FG_METHODS,
	FG_PREFACE = FG_METHODS, /* PRI: HTTP/2 (RFC 9113, section 3.4) */
};

enum fg_unanswered {
	FG_UNANSWERED_RESET,
	FG_UNANSWERED_CLOSED,
	FG_UNANSWERED_TIMEOUT,
};

/* Histogram of response times: upper bounds are 2^first … 2^last microseconds, then +Inf. */
#define FG_HTTP_FIRST	8  /* 256 us */
#define FG_HTTP_LAST	24 /* 16.8 s */
#define FG_HTTP_BUCKETS (FG_HTTP_LAST - FG_HTTP_FIRST + 2)

/* What requests are added up by. */
struct fg_http_key {
	struct fg_key flow;
	u16 code; /* 100 to 599; below: enum fg_unanswered */
	u8 method;
	u8 pad;
	u32 pad2;
};

struct fg_http {
	__u64 duration_sum; /* microseconds */
	__u32 count;
	__u32 durations[FG_HTTP_BUCKETS];
	__u32 pad;
};

struct http_map {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 32768);
	__type(key, struct fg_http_key);
	__type(value, struct fg_http);
} http_a SEC(".maps"), http_b SEC(".maps");

/* One slot: the map being written, as with the sums of closed TCP sockets. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, u32);
	__array(values, struct http_map);
} http_flows SEC(".maps") = {
	.values = {[0] = &http_a},
};

u64 fg_http_pending; /* entries in the map that is being written */

enum http_kind {
	HTTP_NONE,   /* no HTTP, or no more: a tunnel */
	HTTP_UNSURE, /* older than the exporter: may be anything */
	HTTP_1,
	HTTP_2,
};

enum http_mode {
	HTTP_START,	/* a head begins, or an empty line before it */
	HTTP_HEAD,	/* within a head */
	HTTP_CHUNK,	/* the size of a chunk */
	HTTP_EXTENSION, /* the rest of that line */
	HTTP_LOST,	/* it is not known where heads begin */
	HTTP_FRAME,	/* HTTP/2: a frame's header */
	HTTP_PAYLOAD,	/* HTTP/2: a frame's payload */
};

/* struct http_stream.flags */
#define HTTP_CHUNKED   1  /* Transfer-Encoding ends with chunked */
#define HTTP_CODED     2  /* Transfer-Encoding does not: the body lasts until the connection ends */
#define HTTP_LENGTH    4  /* Content-Length */
#define HTTP_BAD       8  /* what frames the body cannot be understood */
#define HTTP_TRAILER   16 /* the fields are those after the last chunk */
#define HTTP_UNCHECKED 32 /* the first request line: it must end with the version */

/* A line of a head that is looked at: of names and values that count, this is enough. */
#define HTTP_LINE 64

/* Further than any position. */
#define HTTP_NEVER (1ll << 62)

/* One direction of a connection. Positions count from the first byte that was seen. */
struct http_stream {
	s64 at;	    /* where something is to be looked at next: all before is done or body */
	s64 seen;   /* up to where bytes have passed */
	u64 length; /* Content-Length; of a chunk; HTTP/2: what is left of the frame's payload */
	u64 value;  /* a number while it is read, */
	u32 base;   /* sequence number of position 0 */
	u32 busy;   /* 1: a CPU is at it */
	u32 begun;  /* when the head's first byte passed, as in struct http */
	u32 number; /* HTTP/2: of the next record */
	u16 status;
	u8 mode;	    /* enum http_mode */
	u8 flags;	    /* of the head at hand */
	u8 method;	    /* of the request, or of the one that the response answers */
	u8 have;	    /* bytes of a line, or of a frame's header, that wait for the rest */
	u8 based;	    /* 1: `base` is set */
	u8 digits;	    /* and how many digits it has */
	u8 line[HTTP_LINE]; /* these bytes */
};

/* Most requests that wait for their responses: what is pipelined beyond has no method and time. */
#define HTTP_OUTSTANDING 32

/* One watched end of a connection. Times are in units of 1,024 ns and wrap after 73 minutes. */
struct http {
	struct fg_key key;
	u64 id;	       /* HTTP/2: tells connections apart */
	u32 requests;  /* begun, also those that found no place */
	u32 responses; /* final ones */
	u32 tries;     /* segments that may still be tried */
	u8 kind;       /* enum http_kind */
	u8 role;       /* enum fg_role */
	u8 reset;      /* a segment with RST passed */
	u8 whole;      /* 1: seen since its begin */
	u32 times[HTTP_OUTSTANDING];
	u8 methods[HTTP_OUTSTANDING];
	u8 laps[HTTP_OUTSTANDING]; /* which use of the place it is */
	struct http_stream from_client;
	struct http_stream from_server;
};

/* What is left of a run of bytes. */
struct http_piece {
	u32 at;
	u32 end;
	u32 found; /* where what a search looked for is */
	u32 time;  /* now, as in struct http */
	u32 begin; /* where it began */
	u8 server; /* 1: the server sent it */
	u8 fresh;  /* 1: the request line at hand began in it */
	u16 pad;
};

static const struct fg_http no_http;

static __always_inline u32 http_least(u64 one, u64 other)
{
	return one < other ? one : other;
}

static __always_inline struct fg_http *http_sums(const struct fg_http_key *key)
{
	u32 slot = 0;
	void *map = bpf_map_lookup_elem(&http_flows, &slot);
	struct fg_http *sums;

	if (!map)
		return NULL;
	sums = bpf_map_lookup_elem(map, key);
	if (sums)
		return sums;
	if (!bpf_map_update_elem(map, key, &no_http, BPF_NOEXIST))
		__sync_fetch_and_add(&fg_http_pending, 1);
	sums = bpf_map_lookup_elem(map, key);
	if (!sums)
		lost(FG_LOST_HTTP_FLOWS_FULL);
	return sums;
}

/* Remembers a request until its response comes. */
static __always_inline void push_request(struct http *http, u8 method, u32 time)
{
	u32 number = http->requests, place = number % HTTP_OUTSTANDING;

	asm volatile("" : "+r"(place));
	if (number - http->responses >= HTTP_OUTSTANDING) {
		lost(FG_LOST_HTTP_PIPELINE);
	} else if (place < HTTP_OUTSTANDING) {
		http->methods[place] = method;
		http->times[place] = time;
		http->laps[place] = number / HTTP_OUTSTANDING;
	}
	/* What is written above is there for whoever sees the new number. */
	__sync_fetch_and_add(&http->requests, 1);
}

/* Counts a final response, and returns the method of the request that it answers. */
static __noinline u8 count_response(struct http *http, u16 code, u32 time)
{
	struct fg_http_key key = {.code = code};
	u32 number = http->responses, place = number % HTTP_OUTSTANDING;
	struct fg_http *sums;
	bool known = false;
	u64 micros = 0;

	asm volatile("" : "+r"(place));
	/* A server may answer what nobody asked: 408 on an idle connection. */
	if (number != http->requests) {
		if (place < HTTP_OUTSTANDING &&
		    http->laps[place] == (u8)(number / HTTP_OUTSTANDING)) {
			known = true;
			key.method = http->methods[place];
			micros = (u64)(time - http->times[place]) * 1024 / 1000;
		}
		__sync_fetch_and_add(&http->responses, 1);
	}
	if (code < 100 || code > 599) {
		lost(FG_LOST_HTTP_MALFORMED);
		return key.method;
	}
	key.flow = http->key;
	sums = http_sums(&key);
	if (!sums)
		return key.method;
	add_one(&sums->count);
	if (known) {
		add_one_at(sums->durations, bucket_of(micros, FG_HTTP_FIRST, FG_HTTP_LAST),
			   FG_HTTP_BUCKETS);
		add(&sums->duration_sum, micros);
	}
	return key.method;
}

/* Counts the requests that will not be answered any more. */
static __always_inline void count_unanswered(struct http *http, enum fg_unanswered why)
{
	u32 number = http->responses;

	for (int i = 0; i < HTTP_OUTSTANDING; i++) {
		struct fg_http_key key = {.code = why};
		u32 place = number % HTTP_OUTSTANDING;
		struct fg_http *sums;

		if (number == http->requests)
			break;
		asm volatile("" : "+r"(place));
		if (place < HTTP_OUTSTANDING &&
		    http->laps[place] == (u8)(number / HTTP_OUTSTANDING))
			key.method = http->methods[place];
		key.flow = http->key;
		sums = http_sums(&key);
		if (sums)
			add_one(&sums->count);
		number++;
	}
}

/*
 * Gives up knowing where heads begin in a direction. Requests that wait may have been answered in
 * what was missed: none of them is matched with a later response.
 */
static __always_inline void lose(struct http *http, struct http_stream *stream, bool server)
{
	lost(FG_LOST_HTTP_STREAM_GAP);
	stream->mode = HTTP_LOST;
	stream->have = stream->flags = 0;
	if (server)
		http->responses = http->requests;
}

#endif
