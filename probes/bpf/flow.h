/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Keys and values shared with user space, which gets them through the generated skeleton.
 * Everything here is naturally aligned; padding is named and zero, since keys are compared as
 * bytes.
 */
#ifndef FG_FLOW_H
#define FG_FLOW_H

/* Which end of the connection the socket is. */
enum fg_role {
	FG_CLIENT = 1,
	FG_SERVER = 2,
	FG_LISTENER = 3,
};

/* fg_key.peer: what is known of the other end. */
enum fg_peer {
	FG_PEER_REMOTE = 0,  /* another address than the socket's own */
	FG_PEER_LOCAL = 1,   /* the same host; who it is was not seen */
	FG_PEER_KNOWN = 2,   /* the same host; peer_cgroup and peer_process say who */
	FG_PEER_SERVICE = 3, /* a Service's address was dialled; peer_cgroup and peer_process say
				from where, so that the key is this connection's alone */
};

enum fg_limit {
	FG_LIMIT_BUSY,
	FG_LIMIT_RECEIVE_WINDOW,
	FG_LIMIT_SEND_BUFFER,
	FG_LIMITS,
};

enum fg_close_reason {
	FG_CLOSE_FIN,
	FG_CLOSE_RESET_RECEIVED,
	FG_CLOSE_RESET_SENT,
	FG_CLOSE_TIMEOUT,
	FG_CLOSE_REASONS,
};

enum fg_failure {
	FG_FAIL_REFUSED,
	FG_FAIL_TIMEOUT,
	FG_FAIL_HOST_UNREACHABLE,
	FG_FAIL_NET_UNREACHABLE,
	FG_FAIL_RESET,
	FG_FAIL_ABANDONED,
	FG_FAIL_NO_LOCAL_PORT,
	FG_FAIL_OTHER,
	FG_FAILURES,
};

/* Histogram buckets: upper bounds are 2^first … 2^last microseconds, then +Inf. */
#define FG_RTT_FIRST	   6  /* 64 us */
#define FG_RTT_LAST	   22 /* 4.19 s */
#define FG_RTT_BUCKETS	   (FG_RTT_LAST - FG_RTT_FIRST + 2)
#define FG_CONNECT_FIRST   7  /* 128 us */
#define FG_CONNECT_LAST	   25 /* 33.6 s */
#define FG_CONNECT_BUCKETS (FG_CONNECT_LAST - FG_CONNECT_FIRST + 2)

/* What connections are added up by. */
struct fg_key {
	/* IPv4 as ::ffff:a.b.c.d; the own one of listeners and of servers dialled from this host */
	__u8 remote[16];
	__u64 cgroup;	   /* cgroup v2 id of whoever made the socket or its listener */
	__u64 peer_cgroup; /* with FG_PEER_KNOWN; with FG_PEER_SERVICE the own address's digest */
	__u32 netns;	   /* inode number of the network namespace */
	__u32 process; /* id in the map of process names; 0: the cgroup tells enough, or unknown */
	__u32 peer_process; /* with FG_PEER_KNOWN; with FG_PEER_SERVICE the own port */
	__u16 port;	    /* the server's port, host order */
	__u8 role;	    /* enum fg_role */
	__u8 peer;	    /* enum fg_peer */
};

/* Sums over the sockets of a key that are gone, and over events. */
struct fg_sums {
	__u64 sent_bytes;
	__u64 received_bytes;
	__u64 sent_segments;
	__u64 received_segments;
	__u64 retransmitted;
	__u64 out_of_order;
	__u64 limited[FG_LIMITS]; /* jiffies */
	__u64 opened;
	__u64 attempts;
	__u64 syn_retransmits;
	__u64 listen_drops;
	__u64 synack_retransmits;
	__u64 rtt_sum;	   /* microseconds */
	__u64 connect_sum; /* microseconds */
	__u32 closed[FG_CLOSE_REASONS];
	__u32 failed[FG_FAILURES];
	__u32 rtt[FG_RTT_BUCKETS];
	__u32 connect[FG_CONNECT_BUCKETS];
	__u32 handed_over; /* closed before the other end's FIN came: TIME_WAIT's socket takes it */
	__u32 pad;
};

/* One socket that is open now. */
struct fg_live {
	struct fg_key key;
	__u64 sent_bytes;
	__u64 received_bytes;
	__u32 sent_segments; /* of a listener: SYN-ACKs that wait for their acknowledgement */
	__u32 received_segments;
	__u32 retransmitted;
	__u32 out_of_order;
	__u32 limited[FG_LIMITS]; /* jiffies */
	__u32 rtt;		  /* microseconds; 0: nothing moved since the last pass */
	__u8 state;		  /* kernel's TCP state */
	__u8 pad[3];
	__u32 listen_drops;
	__u32 queue_length;
	__u32 queue_limit;
};

/* A process as sockets are attributed to it. */
struct fg_process {
	__u64 cgroup; /* id in the hierarchy that user space chose, 0: none */
	__u8 name[16];
};

/* A socket table of the kernel (most namespaces share one). */
struct fg_table {
	__u64 established;
	__u64 listening;
	__u32 established_mask;
	__u32 listening_mask;
};

#define FG_TABLES 128

/* What one run of the walk is asked, as the program's context. */
struct fg_walk_request {
	__u64 table;	 /* address of the bucket array */
	__u64 first;	 /* first bucket */
	__u64 mask;	 /* last bucket */
	__u64 listening; /* 1: listener table */
	__u64 since;	 /* sockets that were idle since these jiffies give no RTT sample */
};

/* What it answers. */
struct fg_walk_answer {
	__u32 next;    /* bucket to go on with; mask + 1: done */
	__u32 sockets; /* records in the live map */
	__u32 moved;   /* chains that changed while they were walked, and were walked again */
	__u32 steps;   /* buckets and sockets looked at */
	__u64 jiffies;
	__u64 tables; /* entries of fg_tables */
};

#endif
