/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * HTTP as it passes sockets: which connections it is, and where in a direction of one a segment
 * belongs.
 *
 * A connection is HTTP if its first bytes are a request's; all others keep no memory and cost a
 * look-up a segment. Those older than the exporter are marked at its start (http_older) and tried
 * at the begin of their next segments.
 *
 * Positions follow from sequence numbers: what is sent again is not seen twice, a segment that
 * arrives too early is let pass, and bytes of a body need not be seen at all. Only if a segment
 * with a head in it arrived too early are heads missed: the receiver has it then, and it does not
 * come again.
 */
#ifndef FG_HTTP_SOCKET_H
#define FG_HTTP_SOCKET_H

#include "service.h"

#define HTTP_CONTEXT struct __sk_buff
#define http_load    bpf_skb_load_bytes

#include "http2.h"

/* Most steps in a segment: heads, fields that matter, chunks, frames. What is beyond counts as a
 * gap. (The verifier goes through all of them, and gives up at 8,192 branches.) */
#define HTTP_STEPS 2048

/* Segments of a connection that is older than the exporter that are tried. */
#define HTTP_TRIES 64

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct http);
} http_sockets SEC(".maps");

/* A request that arrived before its connection had a socket: the listener waits for one
 * (TCP_DEFER_ACCEPT), or the last acknowledgement of the handshake was lost. */
struct http_early_key {
	u8 remote[16];
	u32 netns;
	u16 remote_port;
	u16 own_port;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct http_early_key);
	__type(value, struct http);
} http_early SEC(".maps");

u64 fg_http_early; /* requests that ever came early */

/* Where a new connection's state is made: too large for the stack. */
static const struct http no_http_connection;

#define TCP_SYN 2
#define TCP_RST 4

/* Of a TCP header. */
struct http_segment {
	u32 sequence;
	u32 at;	 /* where the payload is in the packet */
	u32 end; /* where it ends */
	u8 reset;
	u8 out;
	u16 pad;
};

static __always_inline bool is_server(struct bpf_sock *sk)
{
	return is_accepted((struct tcp_sock *)kernel_sock(sk), false);
}

/* Makes the key of a connection's flow. */
static __noinline void make_http_key(struct http *http, struct bpf_sock *sk, struct packet *packet)
{
	struct fg_socket socket = {};

	describe(&socket, sk);
	if (packet->out && wants_process(socket.cgroup))
		socket.process = intern_process(bpf_get_current_task_btf());
	flow_of(&http->key, &socket, packet, http->role);
	if (fg_services && http->role == FG_CLIENT && dials_service(&http->key))
		mark_service(&http->key, packet->own, packet->own_port);
}

/* What the kernel's own state says about a socket's two directions. */
struct http_progress {
	u32 received; /* sequence number up to which all was received */
	u32 sent;     /* that of the first byte sent, or the one before */
	bool none;    /* nothing was received yet */
};

/* The verifier wants each field at a place of its own: no choosing between their addresses. */
static __always_inline bool progress_of(struct http_progress *progress, struct bpf_sock *sk)
{
	struct bpf_tcp_sock *tp = bpf_tcp_sock(sk);
	u32 received, una, acked;
	u64 bytes;

	if (!tp)
		return false;
	/* In this order: bytes_received grows first. */
	received = *(volatile u32 *)&tp->rcv_nxt;
	bytes = *(volatile u64 *)&tp->bytes_received;
	una = *(volatile u32 *)&tp->snd_una;
	/* Counts the client's SYN. */
	acked = *(volatile u64 *)&tp->bytes_acked;
	progress->received = received;
	progress->none = !bytes;
	progress->sent = una - acked;
	return true;
}

/* Whether a segment that is received carries the first bytes. */
static __noinline bool is_first_received(struct bpf_sock *sk, u32 sequence)
{
	struct http_progress progress = {};

	return progress_of(&progress, sk) && progress.none && sequence == progress.received;
}

/*
 * Whether a segment carries the first bytes of its direction. Each segment with payload that is not
 * HTTP comes here: told by a field or two.
 */
static __always_inline bool is_first(struct bpf_sock *sk, const struct http_segment *segment)
{
	struct bpf_tcp_sock *tp = bpf_tcp_sock(sk);

	if (!tp)
		return false;
	if (segment->out)
		return segment->sequence - (tp->snd_una - (u32)tp->bytes_acked) <= 1;
	return !tp->bytes_received && is_first_received(sk, segment->sequence);
}

/* Whether the receiver has bytes that were not looked at in their turn. */
static __noinline bool is_missed(struct bpf_sock *sk, const struct http_segment *segment,
				 const struct http_stream *stream)
{
	struct http_progress progress = {};

	/* A sender sends in order. */
	return segment->out || !progress_of(&progress, sk) ||
	       (s32)(progress.received - (stream->base + (u32)stream->at)) > 0;
}

/* Whether a frame of HTTP/2 may begin with this header. */
static __always_inline bool may_be_frame(const u8 *line)
{
	u32 length = frame_length(line), stream = frame_stream(line);
	u8 flags = line[4];

	if (line[5] & 128)
		return false;
	switch (line[3]) {
	case 0: /* DATA */
		return stream && length <= 65536 && !(flags & ~9);
	case FRAME_HEADERS:
		return stream & 1 && length && length <= 65536 && !(flags & ~0x2d);
	case FRAME_RST_STREAM:
		return stream && length == 4 && !flags;
	case FRAME_SETTINGS:
		return !stream && length % 6 == 0 && length <= 120 && flags <= 1;
	case 6: /* PING */
		return !stream && length == 8 && flags <= 1;
	case 8: /* WINDOW_UPDATE */
		return length == 4 && !flags;
	}
	return false;
}

enum {
	BEGIN_NOTHING,
	BEGIN_HTTP1,
	BEGIN_HTTP2,
};

/* Whether a head or a frame begins where a piece does, as far as can be told there. */
__noinline int begins(struct __sk_buff *skb, struct http_stream *stream,
		      const struct http_piece *piece, u32 kind)
{
	u32 have, bytes;
	u8 method;

	if (!stream || !piece)
		return BEGIN_NOTHING;
	stream->have = 0;
	have = gather(skb, stream, piece, HTTP_TOKEN);
	if (kind != HTTP_1 && have >= FRAME_HEADER && may_be_frame(stream->line))
		return BEGIN_HTTP2;
	if (kind == HTTP_2)
		return BEGIN_NOTHING;
	if (piece->server)
		return have >= STATUS_LINE && is_status_line(stream->line) ? BEGIN_HTTP1
									   : BEGIN_NOTHING;
	method = method_of(stream, have, &bytes);
	/* Whether the line ends with the version is seen then. */
	return have >= bytes && method != FG_METHOD_UNKNOWN && method < FG_METHOD_OTHER
		       ? BEGIN_HTTP1
		       : BEGIN_NOTHING;
}

static __always_inline void become_http2(struct http *http)
{
	http->kind = HTTP_2;
	http->id = __sync_fetch_and_add(&fg_http2_ids, 1);
}

/* Looks whether a direction in which it is not known where heads begin goes on with one. */
static __always_inline void resume(struct __sk_buff *skb, struct http *http,
				   struct http_stream *stream, struct http_piece *piece)
{
	u32 waiting = http->requests - http->responses;
	int begin;

	/* Bodies may hold what looks like a head: it is its turn when the other side has had its.
	 */
	if (http->kind == HTTP_1 && (piece->server ? !waiting : waiting))
		begin = BEGIN_NOTHING;
	else
		begin = begins(skb, stream, piece, http->kind);
	if (begin == BEGIN_NOTHING && http->kind == HTTP_1 && piece->server && waiting) {
		/* What answers the requests that wait has begun, unseen. */
		lost(FG_LOST_HTTP_STREAM_GAP);
		http->responses = http->requests;
	}
	if (begin == BEGIN_NOTHING) {
		if (http->kind == HTTP_UNSURE && !--http->tries)
			http->kind = HTTP_NONE;
		return;
	}
	if (http->kind == HTTP_UNSURE) {
		if (begin == BEGIN_HTTP2)
			become_http2(http);
		else
			http->kind = HTTP_1;
	}
	stream->mode = begin == BEGIN_HTTP2 ? HTTP_FRAME : HTTP_START;
	stream->flags = begin == BEGIN_HTTP1 && !piece->server ? HTTP_UNCHECKED : 0;
}

/* What was taken for HTTP is not understood. */
static __always_inline void fail(struct http *http, struct http_stream *stream, bool server)
{
	if (http->kind == HTTP_2) {
		lost(FG_LOST_HTTP_STREAM_GAP);
		tell(http, stream, FRAME_GAP, 0);
		stream->mode = HTTP_LOST;
		stream->have = 0;
	} else if (stream->flags & HTTP_UNCHECKED) {
		/* It never was. */
		if (http->whole)
			http->kind = HTTP_NONE;
		stream->mode = HTTP_LOST;
		stream->flags = stream->have = 0;
	} else {
		lose(http, stream, server);
	}
}

/* The connection's client speaks HTTP/2. */
static __always_inline void switch_to_http2(struct http *http, struct http_stream *stream,
					    struct http_piece *piece)
{
	become_http2(http);
	stream->mode = http->from_server.mode = HTTP_FRAME;
	skip(stream, piece, PREFACE - stream->have);
	stream->flags = stream->have = 0;
}

/* Goes on by a step; false when the piece is done. A global function: see HTTP_STEPS. */
__noinline int advance(struct __sk_buff *skb, struct http *http, struct http_stream *stream,
		       struct http_piece *piece)
{
	int result;

	if (!http || !stream || !piece)
		return false;
	if (stream->mode == HTTP_FRAME)
		result = step_frame(skb, http, stream, piece);
	else if (stream->mode == HTTP_PAYLOAD)
		result = step_payload(skb, http, stream, piece);
	else
		result = step_http1(skb, http, stream, piece);
	switch (result) {
	case STEP_MORE:
		return true;
	case STEP_PREFACE:
		switch_to_http2(http, stream, piece);
		return true;
	case STEP_TUNNEL:
		http->kind = HTTP_NONE;
		break;
	case STEP_BROKEN:
		fail(http, stream, piece->server);
		break;
	}
	return false;
}

/* Goes through a piece. */
__noinline int feed(struct __sk_buff *skb, struct http *http, struct http_stream *stream,
		    struct http_piece *piece)
{
	if (!http || !stream || !piece)
		return 0;
	if (stream->mode == HTTP_LOST)
		resume(skb, http, stream, piece);
	for (int i = 0; i < HTTP_STEPS; i++)
		if (!advance(skb, http, stream, piece))
			return 0;
	fail(http, stream, piece->server);
	return 0;
}

/* Counts what of a segment was not looked at before. */
static __noinline void count_http(struct __sk_buff *skb, struct bpf_sock *sk, struct http *http,
				  const struct http_segment *segment)
{
	bool server = segment->out == (http->role == FG_SERVER);
	struct http_stream *stream = server ? &http->from_server : &http->from_client;
	struct http_piece piece = {.end = segment->end, .server = server};
	s64 from, to;

	if (!stream->based) {
		struct http_progress progress = {};
		bool early =
			!segment->out && http->whole && progress_of(&progress, sk) && progress.none;

		stream->base = early ? progress.received : segment->sequence;
		stream->based = 1;
	}
	from = stream->seen + (s32)(segment->sequence - (stream->base + (u32)stream->seen));
	to = from + (segment->end - segment->at);
	if (to > stream->seen)
		stream->seen = to;
	if (to <= stream->at || (from > stream->at && !is_missed(sk, segment, stream)))
		return;
	if (!enter_turn(&stream->busy, FG_LOST_HTTP_STREAM_GAP))
		return;
	if (to > stream->at) {
		if (from > stream->at && stream->mode != HTTP_LOST)
			fail(http, stream, server);
		piece.at = segment->at + (from < stream->at ? stream->at - from : 0);
		piece.begin = piece.at;
		piece.time = bpf_ktime_get_ns() >> 10;
		stream->at = to;
		feed(skb, http, stream, &piece);
	}
	leave_turn(&stream->busy);
}

/* Whether a request may begin here: most that is not HTTP is told by its first bytes. */
static __always_inline bool may_be_request(struct __sk_buff *skb,
					   const struct http_segment *segment)
{
	u8 begin[4];

	if (bpf_skb_load_bytes(skb, segment->at, begin, 1))
		return false;
	if (!(begin[0] >= 'A' && begin[0] <= 'Z'))
		return false;
	if (segment->end - segment->at < sizeof(begin))
		return true;
	if (bpf_skb_load_bytes(skb, segment->at, begin, sizeof(begin)))
		return false;
	return (begin[1] >= 'A' && begin[1] <= 'Z') && (begin[2] >= 'A' && begin[2] <= 'Z') &&
	       ((begin[3] >= 'A' && begin[3] <= 'Z') || begin[3] == ' ' || begin[3] == '-');
}

static __always_inline void early_key(struct http_early_key *key, struct bpf_sock *sk,
				      const struct packet *packet)
{
	__builtin_memcpy(key->remote, packet->remote, 16);
	key->netns = netns_of(kernel_sock(sk));
	key->remote_port = packet->remote_port;
	key->own_port = packet->own_port;
}

/* A request for a listener: keeps what it tells until the connection has a socket. */
static __noinline struct http *note_early(struct __sk_buff *skb, struct bpf_sock *sk,
					  const struct http_segment *segment)
{
	struct packet packet = {};
	struct http_early_key key = {};
	struct http *http;

	if (segment->out || !may_be_request(skb, segment) || !parse(skb, &packet))
		return NULL;
	early_key(&key, sk, &packet);
	bpf_map_update_elem(&http_early, &key, &no_http_connection, BPF_ANY);
	http = bpf_map_lookup_elem(&http_early, &key);
	if (!http)
		return NULL;
	http->kind = HTTP_1;
	http->role = FG_SERVER;
	http->whole = 1;
	http->from_client.flags = HTTP_UNCHECKED;
	http->from_client.base = segment->sequence;
	http->from_client.based = 1;
	fg_http_early = 1;
	return http;
}

/* The first bytes of a direction: begins a connection's state, if it is HTTP. */
static __noinline struct http *recognise(struct __sk_buff *skb, struct bpf_sock *sk,
					 const struct http_segment *segment)
{
	struct packet packet = {.out = segment->out};
	struct http_early_key key = {};
	struct http *http, *early = NULL;
	bool server = is_server(sk);

	if (segment->out == server) {
		/* A response to what came early; or no HTTP. */
		if (!server || !fg_http_early || !parse(skb, &packet))
			return NULL;
		set_ends(&packet, sk);
		early_key(&key, sk, &packet);
		early = bpf_map_lookup_elem(&http_early, &key);
		if (!early)
			return NULL;
	} else {
		if (!may_be_request(skb, segment) || !parse(skb, &packet))
			return NULL;
		set_ends(&packet, sk);
	}
	http = bpf_sk_storage_get(&http_sockets, sk, early, BPF_SK_STORAGE_GET_F_CREATE);
	if (!http)
		http = bpf_sk_storage_get(&http_sockets, sk, NULL, 0);
	if (!http) {
		lost(FG_LOST_SOCKET_MEMORY);
		return NULL;
	}
	if (early) {
		bpf_map_delete_elem(&http_early, &key);
	} else {
		http->kind = HTTP_1;
		http->role = server ? FG_SERVER : FG_CLIENT;
		http->whole = 1;
		http->from_client.flags = HTTP_UNCHECKED;
	}
	make_http_key(http, sk, &packet);
	return http;
}

/* Makes the key of a connection that is older than the exporter. */
static __noinline void complete(struct __sk_buff *skb, struct bpf_sock *sk, struct http *http,
				const struct http_segment *segment)
{
	struct packet packet = {.out = segment->out};

	if (parse(skb, &packet)) {
		set_ends(&packet, sk);
		make_http_key(http, sk, &packet);
	}
}

/* A segment with payload, or one that resets its connection. */
static __always_inline void on_http_segment(struct __sk_buff *skb, u32 program,
					    const struct http_segment *segment)
{
	struct bpf_sock *sk = skb->sk;
	struct http *http;
	u64 begin;

	if (!sk)
		return;
	sk = bpf_sk_fullsock(sk);
	if (!sk || sk->protocol != IPPROTO_TCP)
		return;
	http = bpf_sk_storage_get(&http_sockets, sk, NULL, 0);
	if (http) {
		if (segment->reset)
			http->reset = 1;
		if (!http->kind || segment->at >= segment->end)
			return;
	} else if (segment->at >= segment->end ||
		   (sk->state != TCP_LISTEN && !is_first(sk, segment))) {
		return;
	}
	begin = cost_begin(program, 64);
	if (!http) {
		http = sk->state == TCP_LISTEN ? note_early(skb, sk, segment)
					       : recognise(skb, sk, segment);
	} else if (http->kind == HTTP_UNSURE && !http->key.netns) {
		complete(skb, sk, http, segment);
	}
	if (http)
		count_http(skb, sk, http, segment);
	cost_end(program, begin);
}

/* The connection is over: what has not been answered will not be. */
static __always_inline void end_http(struct sock *sk)
{
	struct http *http = bpf_sk_storage_get(&http_sockets, sk, NULL, 0);
	struct tcp_sock *tp;
	u32 why;

	if (!http || (http->kind != HTTP_1 && http->kind != HTTP_2))
		return;
	tp = bpf_skc_to_tcp_sock(sk);
	if (!tp)
		return;
	if (http->reset || sk->sk_err == ECONNRESET || sk->sk_err == EPIPE)
		why = FG_UNANSWERED_RESET;
	else if (sk->sk_err || tp->snd_una != tp->write_seq)
		/* The second: the kernel gave up what nobody acknowledged. */
		why = FG_UNANSWERED_TIMEOUT;
	else
		why = FG_UNANSWERED_CLOSED;
	if (http->kind == HTTP_2)
		tell_end(http, why);
	else
		count_unanswered(http, why);
	http->kind = HTTP_NONE;
}

SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(http_end, struct sock *sk)
{
	end_http(sk);
	return 0;
}

/* Marks the connections that are older than the exporter. */
SEC("iter/task_file")
int http_older(struct bpf_iter__task_file *ctx)
{
	struct file *file = ctx->file;
	struct socket *socket;
	struct http *http;
	struct sock *sk;
	u8 state;

	if (!ctx->task || !file)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk || !bpf_skc_to_tcp_sock(sk))
		return 0;
	state = sk->__sk_common.skc_state;
	if (state == TCP_LISTEN || state == TCP_CLOSE || state == TCP_SYN_SENT)
		return 0;
	http = bpf_sk_storage_get(&http_sockets, sk, NULL, BPF_SK_STORAGE_GET_F_CREATE);
	/* One that was recognised just now, or is held by several. */
	if (!http || http->kind != HTTP_NONE || http->tries)
		return 0;
	http->role = is_accepted((struct tcp_sock *)sk, false) ? FG_SERVER : FG_CLIENT;
	http->tries = HTTP_TRIES;
	http->from_client.mode = http->from_server.mode = HTTP_LOST;
	http->kind = HTTP_UNSURE;
	return 0;
}

#endif
