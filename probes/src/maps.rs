// SPDX-License-Identifier: Apache-2.0
//! Reading maps as a whole: hash maps in batches, array maps through shared memory.

use std::ffi::c_void;
use std::io;
use std::marker::PhantomData;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;

/// A type whose every bit pattern is a value, so that it may be read from kernel memory.
///
/// # Safety
/// Only for `repr(C)` structures of integers and arrays of integers.
pub(crate) unsafe trait Plain: Copy + Default {}

/// Keys and values of a hash map, in buffers that are reused from one reading to the next.
pub(crate) struct BatchReader<K, V> {
    keys: Vec<MaybeUninit<K>>,
    values: Vec<MaybeUninit<V>>,
}

impl<K: Plain, V: Plain> BatchReader<K, V> {
    pub(crate) fn new() -> Self {
        Self { keys: Vec::new(), values: Vec::new() }
    }

    /// Calls `each` for all entries and removes them.
    ///
    /// Nothing may write the map meanwhile: an addition to an entry that was read would be lost.
    pub(crate) fn take_all(
        &mut self,
        map: BorrowedFd<'_>,
        name: &str,
        mut each: impl FnMut(&K, &V),
    ) -> Result<usize, Error> {
        self.read(map, name, libbpf_sys::bpf_map_lookup_and_delete_batch, 1, |key, values| {
            values.iter().for_each(|value| each(key, value));
        })
    }

    /// As [`Self::take_all`] of a map that keeps a value for each possible CPU; those have a multiple of 8 bytes.
    pub(crate) fn take_all_by_cpu(
        &mut self,
        map: BorrowedFd<'_>,
        name: &str,
        each: impl FnMut(&K, &[V]),
    ) -> Result<usize, Error> {
        self.read(map, name, libbpf_sys::bpf_map_lookup_and_delete_batch, values_by_cpu::<V>()?, each)
    }

    /// As [`Self::look_at_all`] of such a map.
    pub(crate) fn look_at_all_by_cpu(
        &mut self,
        map: BorrowedFd<'_>,
        name: &str,
        each: impl FnMut(&K, &[V]),
    ) -> Result<usize, Error> {
        self.read(map, name, libbpf_sys::bpf_map_lookup_batch, values_by_cpu::<V>()?, each)
    }

    /// Calls `each` for all entries.
    pub(crate) fn look_at_all(
        &mut self,
        map: BorrowedFd<'_>,
        name: &str,
        mut each: impl FnMut(&K, &V),
    ) -> Result<usize, Error> {
        self.read(map, name, libbpf_sys::bpf_map_lookup_batch, 1, |key, values| {
            values.iter().for_each(|value| each(key, value));
        })
    }

    fn read(
        &mut self,
        map: BorrowedFd<'_>,
        name: &str,
        call: BatchCall,
        by_key: usize,
        mut each: impl FnMut(&K, &[V]),
    ) -> Result<usize, Error> {
        const FIRST: usize = 1024;
        // The kernel's cursor: a bucket number for hash maps, but never longer than a key or 8 bytes.
        let mut cursor = vec![0u8; size_of::<K>().max(8)];
        let mut started = false;
        let mut total = 0;
        if self.keys.is_empty() {
            self.resize(FIRST, by_key);
        }
        loop {
            let mut count = self.keys.len() as u32;
            let at = cursor.as_mut_ptr().cast::<c_void>();
            let from = if started { at } else { std::ptr::null_mut() };
            // SAFETY: the cursor holds what the kernel wrote last, and the two buffers have room for
            // `count` keys and their values of the map's own types.
            let result = unsafe {
                call(
                    map.as_raw_fd(),
                    from,
                    at,
                    self.keys.as_mut_ptr().cast(),
                    self.values.as_mut_ptr().cast(),
                    &mut count,
                    std::ptr::null(),
                )
            };
            let error = if result < 0 { io::Error::last_os_error().raw_os_error().unwrap_or(0) } else { 0 };
            // One bucket holds more than the buffers do: nothing was read, try with larger ones.
            if error == libc::ENOSPC && self.keys.len() < 1 << 20 {
                self.resize(self.keys.len() * 4, by_key);
                continue;
            }
            if error != 0 && error != libc::ENOENT {
                let source = io::Error::from_raw_os_error(error);
                return Err(Error::os(format!("reading map {name}"), source));
            }
            for (key, values) in self.keys.iter().zip(self.values.chunks_exact(by_key)).take(count as usize) {
                // SAFETY: the kernel wrote the first `count` keys, and for each of them `by_key` values.
                let (key, values) = unsafe {
                    (key.assume_init_ref(), std::slice::from_raw_parts(values.as_ptr().cast(), by_key))
                };
                each(key, values);
            }
            total += count as usize;
            // A short batch is no end: only ENOENT is.
            if error == libc::ENOENT {
                return Ok(total);
            }
            started = true;
        }
    }

    fn resize(&mut self, len: usize, by_key: usize) {
        self.keys.resize(len, MaybeUninit::uninit());
        self.values.resize(len * by_key, MaybeUninit::uninit());
    }
}

/// How many values a map has for each key that keeps one for each possible CPU.
fn values_by_cpu<V>() -> Result<usize, Error> {
    const { assert!(size_of::<V>().is_multiple_of(8), "the kernel rounds up") };
    let cpus = libbpf_rs::num_possible_cpus().map_err(|error| Error::libbpf("counting the CPUs", error))?;
    Ok(cpus.max(1))
}

type BatchCall = unsafe extern "C" fn(
    i32,
    *mut c_void,
    *mut c_void,
    *mut c_void,
    *mut c_void,
    *mut u32,
    *const libbpf_sys::bpf_map_batch_opts,
) -> i32;

/// An array map with `BPF_F_MMAPABLE`, or a data section of a program, shared with the kernel.
pub(crate) struct Shared<T> {
    memory: NonNull<T>,
    entries: usize,
    bytes: usize,
    _type: PhantomData<T>,
}

// SAFETY: the mapping belongs to this value alone and is not tied to a thread.
unsafe impl<T: Plain> Send for Shared<T> {}

impl<T: Plain> Shared<T> {
    /// Maps `entries` values of the map, read-only.
    pub(crate) fn map(map: BorrowedFd<'_>, entries: usize, name: &str) -> Result<Self, Error> {
        Self::map_for(libc::PROT_READ, map, entries, name)
    }

    /// Maps `entries` values of the map, to write single words as well.
    pub(crate) fn map_writable(map: BorrowedFd<'_>, entries: usize, name: &str) -> Result<Self, Error> {
        Self::map_for(libc::PROT_READ | libc::PROT_WRITE, map, entries, name)
    }

    fn map_for(access: i32, map: BorrowedFd<'_>, entries: usize, name: &str) -> Result<Self, Error> {
        // Array elements are rounded up to 8 bytes; so are these types, or the stride would differ.
        assert_eq!(size_of::<T>() % 8, 0, "an array element is a multiple of 8 bytes");
        let bytes = (entries * size_of::<T>()).next_multiple_of(page_size());
        // SAFETY: a new mapping; the kernel checks the map's size and flags.
        let memory =
            unsafe { libc::mmap(std::ptr::null_mut(), bytes, access, libc::MAP_SHARED, map.as_raw_fd(), 0) };
        let step = || format!("mapping {name} into memory");
        if memory == libc::MAP_FAILED {
            return Err(Error::last_os(step()));
        }
        let memory = NonNull::new(memory.cast())
            .ok_or_else(|| Error::os(step(), io::Error::from(io::ErrorKind::InvalidData)))?;
        Ok(Self { memory, entries, bytes, _type: PhantomData })
    }

    /// A copy of one entry; the default beyond the end.
    pub(crate) fn get(&self, index: usize) -> T {
        if index >= self.entries {
            return T::default();
        }
        // SAFETY: within the mapping, aligned as array elements are, any bits are a value; volatile
        // because the kernel may write it.
        unsafe { self.memory.as_ptr().add(index).read_volatile() }
    }
}

impl<T: Plain> Shared<T> {
    /// Writes one word of an entry, of a mapping that is writable. Nothing happens beyond the end.
    pub(crate) fn set(&self, index: usize, word: impl Fn(*mut T) -> *mut u64, value: u64) {
        if index >= self.entries {
            return;
        }
        // SAFETY: within the mapping; the word is a field of the entry, aligned, and shared only as an atomic.
        unsafe {
            AtomicU64::from_ptr(word(self.memory.as_ptr().add(index))).store(value, Ordering::Release);
        }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `map`.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), self.bytes) };
    }
}

/// Runs an iterator program over all that it iterates.
pub(crate) fn run_iterator(program: &libbpf_rs::ProgramMut<'_>, step: &str) -> Result<(), Error> {
    let link = program.attach().map_err(|error| Error::libbpf(step, error))?;
    let mut iterator = libbpf_rs::Iter::new(&link).map_err(|error| Error::libbpf(step, error))?;
    io::copy(&mut iterator, &mut io::sink()).map(drop).map_err(|error| Error::os(step, error))
}

/// A key or value as the kernel takes it.
pub(crate) fn bytes_of<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: a structure of integers; its padding, where it has any, is named and zero.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// A value in a program's data section, which programs write.
pub(crate) fn read<T: Plain>(value: &T) -> T {
    // SAFETY: a valid reference, any bits are a value; volatile because it changes behind the compiler's back.
    unsafe { std::ptr::from_ref(value).read_volatile() }
}

fn page_size() -> usize {
    // SAFETY: no arguments that could be wrong.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}
