// SPDX-License-Identifier: Apache-2.0
//! What drivers of network interfaces count beyond what every interface has (`ethtool --statistics`).
//!
//! There is no way to them but `ioctl` (netlink has the standardized ones alone). Reading needs no privilege.

use std::ffi::{c_char, c_ulong};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::net::UnixDatagram;

/// `SIOCETHTOOL` of linux/sockios.h.
const SIOCETHTOOL: c_ulong = 0x8946;
// linux/ethtool.h.
const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSTATS: u32 = 0x1d;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETH_SS_STATS: u32 = 1;
/// `ETH_GSTRING_LEN`: each name has so many bytes, filled up with zeros.
const NAME: usize = 32;
/// No driver has more: those with most have some hundred for each of 128 queues.
const MOST: usize = 1 << 16;
/// The kernel writes as many as the driver has when it writes, whatever it said before. So many more than it said would
/// have to appear in between to be written past the end.
const SLACK: usize = 1 << 14;

/// Reads the counters of the drivers of the interfaces in this process's network namespace.
#[derive(Debug)]
pub struct Ethtool(UnixDatagram);

impl Ethtool {
    /// Opens a socket to ask through.
    ///
    /// # Errors
    /// When there is none to be had.
    pub fn open() -> io::Result<Self> {
        // A socket of any family does; this one takes no port.
        UnixDatagram::unbound().map(Self)
    }

    /// How many counters the driver has; none is no error.
    ///
    /// # Errors
    /// The kernel's answer, such as ENODEV.
    pub fn count(&self, device: &str) -> io::Result<usize> {
        // struct ethtool_sset_info: cmd, reserved, a mask of 64 bits, then a word for each bit asked for.
        let mut info = [ETHTOOL_GSSET_INFO, 0, 0, 0, 0];
        let mask = (1_u64 << ETH_SS_STATS).to_ne_bytes();
        info[2] = u32::from_ne_bytes([mask[0], mask[1], mask[2], mask[3]]);
        info[3] = u32::from_ne_bytes([mask[4], mask[5], mask[6], mask[7]]);
        match self.ask(device, &mut info) {
            // The kernel takes from the mask what the driver has none of.
            Ok(()) if info[2] == 0 && info[3] == 0 => Ok(0),
            Ok(()) => Ok((info[4] as usize).min(MOST)),
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// The names of the counters, in order.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn names(&self, device: &str) -> io::Result<Vec<String>> {
        let count = self.count(device)?;
        // struct ethtool_gstrings: cmd, string_set, len, names.
        let mut strings = vec![0_u32; 3 + (count + SLACK) * NAME / 4];
        (strings[0], strings[1]) = (ETHTOOL_GSTRINGS, ETH_SS_STATS);
        self.ask(device, &mut strings)?;
        let count = (strings[2] as usize).min(count);
        let bytes: Vec<u8> =
            strings[3..3 + count * NAME / 4].iter().flat_map(|word| word.to_ne_bytes()).collect();
        let name = |bytes: &[u8]| {
            let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
            String::from_utf8_lossy(&bytes[..end]).into_owned()
        };
        Ok(bytes.chunks_exact(NAME).map(name).collect())
    }

    /// The values of the `count` counters that it has names for; none if it has another number of them by now.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn values(&self, device: &str, count: usize) -> io::Result<Option<Vec<u64>>> {
        let count = count.min(MOST);
        // struct ethtool_stats: cmd, n_stats, values of 64 bits. Some drivers write as many as they are asked for.
        let mut stats = vec![0_u32; 2 + (count + SLACK) * 2];
        (stats[0], stats[1]) = (ETHTOOL_GSTATS, u32::try_from(count).unwrap_or(0));
        self.ask(device, &mut stats)?;
        if stats[1] as usize != count {
            return Ok(None);
        }
        let value = |words: &[u32]| {
            let [a, b] = [words[0].to_ne_bytes(), words[1].to_ne_bytes()];
            u64::from_ne_bytes([a[0], a[1], a[2], a[3], b[0], b[1], b[2], b[3]])
        };
        Ok(Some(stats[2..2 + count * 2].chunks_exact(2).map(value).collect()))
    }

    /// One request, answered in its place.
    fn ask(&self, device: &str, request: &mut [u32]) -> io::Result<()> {
        if device.len() >= libc::IFNAMSIZ || device.contains('\0') {
            return Err(io::Error::from_raw_os_error(libc::ENODEV));
        }
        let mut name = [0; libc::IFNAMSIZ];
        for (to, from) in name.iter_mut().zip(device.bytes()) {
            *to = from as c_char;
        }
        let data = request.as_mut_ptr().cast::<c_char>();
        let mut ifreq =
            libc::ifreq { ifr_name: name, ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_data: data } };
        // SAFETY: the socket is open; `ifreq` is what SIOCETHTOOL reads, its name ends with a zero; `data` points to a
        // request that the callers made larger than what the kernel writes for it (see SLACK), and that outlives the call.
        let answer = unsafe { libc::ioctl(self.0.as_raw_fd(), SIOCETHTOOL as _, &raw mut ifreq) };
        if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::Ethtool;

    #[test]
    fn loopback_has_none_and_no_device_is_an_error() {
        let ethtool = Ethtool::open().unwrap();
        assert_eq!(ethtool.count("lo").unwrap(), 0);
        for absent in ["no-such-device", "longer-than-any-device", "", "a\0b"] {
            let error = ethtool.count(absent).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::ENODEV), "{absent:?}");
        }
    }
}
