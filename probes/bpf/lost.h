/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What could not be counted, by reason. Whoever includes this defines enum fg_lost_reason before,
 * with FG_LOST_PROCESS_NAMES_FULL in it and FG_LOST_REASONS as its last.
 */
#ifndef FG_LOST_H
#define FG_LOST_H

u64 fg_lost[FG_LOST_REASONS];

static __always_inline void lost(enum fg_lost_reason reason)
{
	__sync_fetch_and_add(&fg_lost[reason], 1);
}

#endif
