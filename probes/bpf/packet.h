/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Where in a packet the transport header and the payload are. The packet begins with its network
 * header, and belongs to a socket of this host.
 */
#ifndef FG_PACKET_H
#define FG_PACKET_H

#define UDP_HEADER 8
#define TCP_HEADER 20

/* Of IPv4, without options. */
#define IPV4_HEADER 20

/* The fixed header and the option headers of IPv6 that may stand before the transport header. */
#define IPV6_HEADER  40
#define IPV6_OPTIONS 6

enum {
	NEXT_HOP_BY_HOP = 0,
	NEXT_ROUTING = 43,
	NEXT_FRAGMENT = 44,
	NEXT_AUTHENTICATION = 51,
	NEXT_DESTINATION = 60,
};

/*
 * Plain numbers only: global functions, which the verifier checks once and not at each call, take
 * nothing else.
 */
struct packet {
	u8 own[16];    /* the address of this end */
	u8 remote[16]; /* of the other one, as the socket sees it */
	u64 tenancy;   /* of the UDP flow; see udp.h */
	u32 transport; /* where its header begins */
	u32 end;       /* where the packet ends, padding left out */
	u16 own_port;  /* the socket's, host order */
	u16 remote_port;
	u8 protocol;
	u8 out;	  /* sent by the socket */
	u8 role;  /* enum fg_role: what is known of the socket's; 0: nothing */
	u8 local; /* both ends are in this network namespace */
};

/* A GSO packet may be longer than its header can say: that is 0 then. */
static __always_inline u32 end_of(const struct __sk_buff *skb, u32 said)
{
	return said && said < skb->len ? said : skb->len;
}

/* Reads the network header; false for what has no transport header, or is not all there. */
static __noinline bool parse_v4(struct __sk_buff *skb, struct packet *packet)
{
	u8 header[20];
	u32 from, to;

	if (bpf_skb_load_bytes(skb, 0, header, sizeof(header)))
		return false;
	packet->transport = (header[0] & 15) * 4;
	packet->protocol = header[9];
	packet->end = skb->gso_segs > 1 ? skb->len : end_of(skb, header[2] << 8 | header[3]);
	from = *(u32 *)(header + 12);
	to = *(u32 *)(header + 16);
	packet->local = from == to || is_loopback(to);
	mapped(packet->own, packet->out ? from : to);
	mapped(packet->remote, packet->out ? to : from);
	/* Not a later fragment. */
	return !(header[6] & 0x1f) && !header[7];
}

/* The same for IPv6. */
static __noinline bool parse_v6(struct __sk_buff *skb, struct packet *packet)
{
	u8 header[IPV6_HEADER], option[4];
	u32 at = IPV6_HEADER, length;
	u8 next;

	if (bpf_skb_load_bytes(skb, 0, header, sizeof(header)))
		return false;
	length = header[4] << 8 | header[5];
	packet->end = skb->gso_segs > 1 ? skb->len : end_of(skb, length ? length + at : 0);
	__builtin_memcpy(packet->out ? packet->own : packet->remote, header + 8, 16);
	__builtin_memcpy(packet->out ? packet->remote : packet->own, header + 24, 16);
	packet->local = same_address(packet->own, packet->remote);
	next = header[6];
	for (int i = 0; i < IPV6_OPTIONS; i++) {
		if (next == IPPROTO_UDP || next == IPPROTO_TCP)
			break;
		if (next != NEXT_HOP_BY_HOP && next != NEXT_ROUTING && next != NEXT_FRAGMENT &&
		    next != NEXT_AUTHENTICATION && next != NEXT_DESTINATION)
			return false;
		if (bpf_skb_load_bytes(skb, at, option, sizeof(option)))
			return false;
		if (next == NEXT_FRAGMENT) {
			if (option[2] || option[3] & 0xf8)
				return false;
			at += 8;
		} else if (next == NEXT_AUTHENTICATION) {
			at += (option[1] + 2) * 4;
		} else {
			at += (option[1] + 1) * 8;
		}
		next = option[0];
	}
	packet->transport = at;
	packet->protocol = next;
	return true;
}

/* Finds the transport header; false for what is neither TCP nor UDP, or not all there. */
static __always_inline bool parse(struct __sk_buff *skb, struct packet *packet)
{
	u16 ports[2];
	u8 version;

	if (bpf_skb_load_bytes(skb, 0, &version, sizeof(version)))
		return false;
	if (version >> 4 == 4 ? !parse_v4(skb, packet) : !parse_v6(skb, packet))
		return false;
	if (bpf_skb_load_bytes(skb, packet->transport, ports, sizeof(ports)))
		return false;
	packet->own_port = bpf_ntohs(packet->out ? ports[0] : ports[1]);
	packet->remote_port = bpf_ntohs(packet->out ? ports[1] : ports[0]);
	return true;
}

#endif
