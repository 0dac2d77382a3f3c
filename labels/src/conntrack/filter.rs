// SPDX-License-Identifier: Apache-2.0
//! The socket filter that keeps uninteresting events in the kernel: they cost no memory, no system call, no overrun.
//!
//! Classic BPF over one netlink message. Of conntrack events it lets through those of TCP whose destination was
//! translated: `IPS_DST_NAT` is set, or, as IPVS leaves no mark, reply's source is not the address that was dialled.
//! Whatever else comes, parts of a dump, its end, errors, is let through.

use libc::{
    BPF_ABS, BPF_B, BPF_H, BPF_IMM, BPF_IND, BPF_JA, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_LDX,
    BPF_MEM, BPF_MISC, BPF_RET, BPF_ST, BPF_TAX, BPF_W, BPF_X, SKF_AD_NLATTR, SKF_AD_NLATTR_NEST, SKF_AD_OFF,
};
use socket2::SockFilter;

use super::message::{
    ATTRIBUTES, CT_NEW, CTA_IP_V4_DST, CTA_IP_V4_SRC, CTA_IP_V6_DST, CTA_IP_V6_SRC, CTA_PROTO_NUM,
    CTA_STATUS, CTA_TUPLE_IP, CTA_TUPLE_ORIG, CTA_TUPLE_PROTO, CTA_TUPLE_REPLY, IPS_DST_NAT,
};

const NLMSG_TYPE: u32 = 4;
const NLMSG_FLAGS: u32 = 6;
/// Bytes of an attribute before its value.
const VALUE: u32 = 4;

/// What the scratch memory holds.
const ORIGINAL_ADDRESSES: u32 = 0;
const DIALLED: u32 = 1;
const ANSWERED: u32 = 2;
const WORD: u32 = 3;

#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Next,
    Accept,
    Drop,
    Version6,
}

struct Step {
    code: u32,
    k: u32,
    /// Where to go if a condition holds, and if not. `Next` twice for what is no jump.
    jump: (To, To),
}

#[derive(Default)]
struct Program {
    steps: Vec<Step>,
    version_6: usize,
}

impl Program {
    fn plain(&mut self, code: u32, k: u32) {
        self.steps.push(Step { code, k, jump: (To::Next, To::Next) });
    }

    fn jump(&mut self, code: u32, k: u32, yes: To, no: To) {
        self.steps.push(Step { code: BPF_JMP | code, k, jump: (yes, no) });
    }

    /// A = where attribute `kind` begins, searched from A on (`SKF_AD_NLATTR`) or inside the attribute at A
    /// (`SKF_AD_NLATTR_NEST`). If there is none, the program goes `otherwise`.
    fn find(&mut self, how: i32, kind: u16, otherwise: To) {
        self.plain(BPF_LDX | BPF_IMM, kind.into());
        self.plain(BPF_LD | BPF_W | BPF_ABS, SKF_AD_OFF.wrapping_add(how).cast_unsigned());
        self.jump(BPF_JEQ | BPF_K, 0, otherwise, To::Next);
    }

    fn top(&mut self, kind: u16) {
        self.plain(BPF_LD | BPF_IMM, ATTRIBUTES);
        self.find(SKF_AD_NLATTR, kind, To::Drop);
    }

    fn nested(&mut self, kind: u16, otherwise: To) {
        self.find(SKF_AD_NLATTR_NEST, kind, otherwise);
    }

    /// A = `size` bytes of the value of the attribute at A, from `offset` on.
    fn value(&mut self, size: u32, offset: u32) {
        self.plain(BPF_MISC | BPF_TAX, 0);
        self.plain(BPF_LD | size | BPF_IND, VALUE + offset);
    }

    fn assemble(&self) -> Vec<SockFilter> {
        let accept = self.steps.len();
        let distance = |at: usize, to: To| {
            let target = match to {
                To::Next => return 0,
                To::Accept => accept,
                To::Drop => accept + 1,
                To::Version6 => self.version_6,
            };
            u8::try_from(target - at - 1).unwrap_or(u8::MAX)
        };
        let step = |(at, step): (usize, &Step)| {
            // The code of an instruction is 16 bits wide, libc's constants are 32.
            let code = step.code as u16;
            if step.code == BPF_JMP | BPF_JA {
                return SockFilter::new(code, 0, 0, distance(at, step.jump.0).into());
            }
            SockFilter::new(code, distance(at, step.jump.0), distance(at, step.jump.1), step.k)
        };
        let mut filter: Vec<_> = self.steps.iter().enumerate().map(step).collect();
        let give = |bytes| SockFilter::new((BPF_RET | BPF_K) as u16, 0, 0, bytes);
        filter.extend([give(u32::MAX), give(0)]);
        filter
    }
}

/// The filter, ready to be attached.
pub(super) fn translated_tcp() -> Vec<SockFilter> {
    let mut program = Program::default();
    let p = &mut program;
    // Loads take the message for big-endian, netlink headers are the machine's.
    p.plain(BPF_LD | BPF_H | BPF_ABS, NLMSG_TYPE);
    p.jump(BPF_JEQ | BPF_K, CT_NEW.to_be().into(), To::Next, To::Accept);
    p.plain(BPF_LD | BPF_H | BPF_ABS, NLMSG_FLAGS);
    p.jump(BPF_JSET | BPF_K, (libc::NLM_F_MULTI as u16).to_be().into(), To::Accept, To::Next);

    p.top(CTA_TUPLE_ORIG);
    p.plain(BPF_ST, ORIGINAL_ADDRESSES);
    p.nested(CTA_TUPLE_PROTO, To::Drop);
    p.nested(CTA_PROTO_NUM, To::Drop);
    p.value(BPF_B, 0);
    p.jump(BPF_JEQ | BPF_K, libc::IPPROTO_TCP.cast_unsigned(), To::Next, To::Drop);

    p.top(CTA_STATUS);
    p.value(BPF_W, 0);
    p.jump(BPF_JSET | BPF_K, IPS_DST_NAT, To::Accept, To::Next);

    p.plain(BPF_LD | BPF_MEM, ORIGINAL_ADDRESSES);
    p.nested(CTA_TUPLE_IP, To::Drop);
    p.plain(BPF_ST, ORIGINAL_ADDRESSES);
    p.nested(CTA_IP_V4_DST, To::Version6);
    same_address(p, CTA_IP_V4_SRC, 1);
    p.jump(BPF_JA, 0, To::Drop, To::Next);

    p.version_6 = p.steps.len();
    p.plain(BPF_LD | BPF_MEM, ORIGINAL_ADDRESSES);
    p.nested(CTA_IP_V6_DST, To::Drop);
    same_address(p, CTA_IP_V6_SRC, 4);
    p.jump(BPF_JA, 0, To::Drop, To::Next);
    program.assemble()
}

/// Goes on if the address attribute at A says the same as attribute `kind` of the reply, and accepts if not.
fn same_address(p: &mut Program, kind: u16, words: u32) {
    p.plain(BPF_ST, DIALLED);
    p.top(CTA_TUPLE_REPLY);
    p.nested(CTA_TUPLE_IP, To::Drop);
    p.nested(kind, To::Drop);
    p.plain(BPF_ST, ANSWERED);
    for word in 0..words {
        p.plain(BPF_LD | BPF_MEM, DIALLED);
        p.value(BPF_W, word * 4);
        p.plain(BPF_ST, WORD);
        p.plain(BPF_LD | BPF_MEM, ANSWERED);
        p.value(BPF_W, word * 4);
        p.plain(BPF_LDX | BPF_MEM, WORD);
        p.jump(BPF_JEQ | BPF_X, 0, To::Next, To::Accept);
    }
}

#[cfg(test)]
mod tests;
