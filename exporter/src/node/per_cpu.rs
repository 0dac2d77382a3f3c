// SPDX-License-Identifier: Apache-2.0
//! Sums of counters that the kernel keeps for each CPU in 32 bits.

/// More CPUs than Linux can be built for.
const MOST_CPUS: usize = 1 << 14;

/// A sum that goes on where a CPU's counter begins again at zero, because it is full or because what counts was loaded anew,
/// and that keeps what CPUs counted that are switched off.
#[derive(Debug, Default)]
pub struct PerCpu {
    last: Vec<u32>,
    total: u64,
}

impl PerCpu {
    /// The CPU's counter stands at `now`.
    pub fn note(&mut self, cpu: usize, now: u32) {
        if cpu >= MOST_CPUS {
            return;
        }
        if self.last.len() <= cpu {
            self.last.resize(cpu + 1, 0);
        }
        let last = std::mem::replace(&mut self.last[cpu], now);
        // Backwards by more than half its range is forwards past the end.
        let wrapped = last > now && last - now > u32::MAX / 2;
        self.total += u64::from(if now >= last || wrapped { now.wrapping_sub(last) } else { now });
    }

    /// What all CPUs counted.
    pub fn total(&self) -> f64 {
        self.total as f64
    }
}

#[cfg(test)]
mod tests {
    use super::PerCpu;

    #[test]
    fn never_falls() {
        let mut sum = PerCpu::default();
        for (cpu, now, total) in [
            (0, 5, 5),
            (3, 7, 12),
            (0, 5, 12),
            (0, u32::MAX, u64::from(u32::MAX) + 7),
            // Full.
            (0, 3, (1 << 32) + 10),
            // Loaded anew.
            (3, 2, (1 << 32) + 12),
            // More CPUs than there can be.
            (usize::MAX, 9, (1 << 32) + 12),
        ] {
            sum.note(cpu, now);
            assert_eq!(sum.total, total, "CPU {cpu} at {now}");
        }
    }
}
