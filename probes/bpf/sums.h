/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Adding up what several CPUs count at once. */
#ifndef FG_SUMS_H
#define FG_SUMS_H

/* Most of what is added is zero, and an atomic addition costs 5 ns. */
static __always_inline void add(u64 *sum, u64 value)
{
	if (value)
		__sync_fetch_and_add(sum, value);
}

static __always_inline void add_one(u32 *sum)
{
	__sync_fetch_and_add(sum, 1);
}

/* The bucket of a value in a power-of-two histogram; bounds are inclusive, as `le` is. */
static __always_inline u32 bucket_of(u64 value, u32 first, u32 last)
{
	u32 bucket = 0;

	for (u32 power = first; power <= last; power++)
		bucket += value > (1ull << power);
	return bucket;
}

/* Adds one to a place of an array; the last place if there is no such one. */
static __always_inline void add_one_at(u32 *sums, u32 index, u32 places)
{
	/* Where the compiler knows the bound, the verifier of 6.1 loses it. */
	asm volatile("" : "+r"(index));
	if (index >= places)
		index = places - 1;
	add_one(&sums[index]);
}

/*
 * A number from 1 to `power`, a power of two, for verifiers that see neither that a compared number
 * is not 0 (6.1) nor through what the compiler makes of two comparisons (6.12).
 */
static __always_inline u32 counting_to(u32 number, const u32 power)
{
	asm volatile("" : "+r"(number));
	return ((number - 1) & (power - 1)) + 1;
}

#endif
