/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Turns at a direction of a connection. What a CPU sends is serial already (the socket is locked),
 * and no program is interrupted by one of the same direction of a connection; but segments may
 * arrive on several CPUs at once.
 */
#ifndef FG_TURN_H
#define FG_TURN_H

#include "lost.h"

/* Tries to have a stream for oneself, 10 to 20 us; another CPU needs some microseconds with it. */
#define TURN_TRIES 1024

/* A global function, or verifiers would go through what follows after every number of tries. */
__noinline int enter_turn(u32 *busy, u32 reason)
{
	if (!busy)
		return false;
	for (int i = 0; i < TURN_TRIES; i++)
		if (!__sync_val_compare_and_swap(busy, 0, 1))
			return true;
	if (reason < FG_LOST_REASONS)
		lost(reason);
	return false;
}

static __always_inline void leave_turn(u32 *busy)
{
	__sync_val_compare_and_swap(busy, 1, 0);
}

#endif
