/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Addresses as keys hold them: IPv4 as ::ffff:a.b.c.d. */
#ifndef FG_ADDRESS_H
#define FG_ADDRESS_H

static __always_inline void mapped(u8 *address, u32 v4)
{
	u32 *words = (u32 *)address;

	words[0] = words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = v4;
}

static __always_inline bool is_loopback(u32 v4)
{
	return (v4 & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
}

static __always_inline bool same_address(const u8 *one, const u8 *other)
{
	const u64 *a = (const u64 *)one, *b = (const u64 *)other;

	return a[0] == b[0] && a[1] == b[1];
}

#endif
