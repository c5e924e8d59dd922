#!/usr/bin/env python3
"""apply.py OLD DELTA SIZE >NEW: a second applier of Freshet's deltas.

It shares no code with the package; it was written from docs/design.md, to be read
beside that page. It needs the command zstd where a section is packed by it, holds
everything in memory, and trusts its input: it is for checking the format, not for use.
"""
import subprocess
import sys
from collections import defaultdict

M32, M64 = 2**32 - 1, 2**64 - 1
SQUASH = [22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743, 32768, 40793, 47911,
          53581, 57724, 60565, 62428, 63615, 64357, 64816, 65097, 65269, 65374, 65438, 65476, 65500, 65514]


def squash(x):
    x = max(-2047, min(x, 2047)) + 2048
    return SQUASH[x >> 7] + ((SQUASH[(x >> 7) + 1] - SQUASH[x >> 7]) * (x & 127) >> 7)


STRETCH = []
for c in range(4096):
    STRETCH.append(next((x for x in range(STRETCH[-1] if STRETCH else -2047, 2048) if squash(x) >> 4 >= c), 2047))


def h32(x):
    return x * 0x9e3779b1 & M32


class Bit:
    """An adaptive bit."""

    def __init__(self, v=1 << 21, k=0):
        self.v, self.k = v, k

    def learn(self, bit, limit):
        self.v += ((2**22 - 1 if bit else 0) - self.v) * (2**17 // (2 * self.k + 3)) >> 16
        self.k = min(self.k + 1, limit)


class Counter:
    def __init__(self):
        self.c, self.k = 2048, 0

    def learn(self, bit):
        self.c += ((4095 if bit else 0) - self.c) * (2**17 // (2 * self.k + 3)) >> 16
        self.k = min(self.k + 1, 15)


class Applier:
    def __init__(self, old, data, size):
        self.old, self.data, self.size, self.out = old, data, size, bytearray()
        self.at, self.flags, self.pos = 1, data[0] & 15, 0
        self.unit = self.varint() if self.flags & 8 else 1
        heads = [[self.varint() for _ in range(3)] if self.flags & f else [0, 0, 0] for f in (2, 4)]
        self.dense, self.section = (iter(self.unpack(*head, most)) for head, most in zip(heads, (20, 23)))
        self.low, self.high, self.x = 0, M64, 0
        for _ in range(8):
            self.x = self.x << 8 | self.next()
        self.bits, self.weights = {}, {}
        self.near, self.before, self.quiet, self.recent, self.values = 32, 0, None, 0, 0
        self.text = Text(self)

    def varint(self):
        n = shift = 0
        while True:
            b, self.at = self.data[self.at], self.at + 1
            n, shift = n | (b & 127) << shift, shift + 7
            if b < 128:
                return n

    def unpack(self, coder, raw, stored, most):
        packed, self.at = self.data[self.at:self.at + stored], self.at + stored
        if coder == 0:
            return packed
        log = max(10, min((raw - 1).bit_length(), most))
        head = bytes([0x28, 0xb5, 0x2f, 0xfd, 0, log - 10 << 3])
        return subprocess.run(["zstd", "-dc"], input=head + packed, stdout=subprocess.PIPE, check=True).stdout

    # The range coder.

    def next(self):
        self.at += 1
        return self.data[self.at - 1] if self.at <= len(self.data) else 0

    def decode(self, p):
        mid = self.low + (self.high - self.low >> 16) * p
        bit = int(self.x <= mid)
        if bit:
            self.high = mid
        else:
            self.low = mid + 1
        while self.low >> 56 == self.high >> 56:
            self.low, self.high = self.low << 8 & M64, (self.high << 8 | 255) & M64
            self.x = (self.x << 8 | self.next()) & M64
        return bit

    def chosen(self, *key, unlikely=False):
        if key not in self.bits:
            self.bits[key] = Bit(1 << 17, 5) if unlikely else Bit()
        return self.bits[key]

    def adaptive(self, *key, unlikely=False, limit=60):
        b = self.chosen(*key, unlikely=unlikely)
        bit = self.decode(max(1, b.v >> 6))
        b.learn(bit, limit)
        return bit

    def mix(self, inputs, key, first):
        """A bit by inputs and the set of weights called key."""
        w = self.weights.setdefault(key, [first] * len(inputs))
        p = squash(sum(i * j for i, j in zip(inputs, w)) >> 16)
        bit = self.decode(p)
        for i, x in enumerate(inputs):
            w[i] += (x * ((bit << 16) - p) * 5 + 2**17) >> 18
        return bit

    def number(self, kind, few=False):
        node = 1
        for _ in range(6):
            node = node << 1 | self.adaptive(kind, node, unlikely=node == 1 or few and node in (2, 4, 8))
        w, v = node & 63, 1
        for i in range(w):
            v = v << 1 | (self.adaptive(kind, w, "low", v) if i < 2 else self.decode(32768))
        return v - 1

    def length(self, kind, few=False, signed=False, unit=None):
        unit, rest = unit or max(self.unit, 1), 1
        n = (unit - 1).bit_length()
        for _ in range(n):
            rest = rest << 1 | self.adaptive(kind, "rest", rest)
        q = self.number(kind, few)
        return (q >> 1 ^ -(q & 1) if signed else q) * unit + rest - (1 << n)

    # Operations.

    def apply(self):
        lines = self.unit == 0
        while self.adaptive("more") == 0:
            n = self.length("copy")
            self.copy(self.lines(n) if lines else n)
            inserted, here = self.length("insert", few=lines), len(self.out)
            skip = self.length("seek", few=lines, signed=not lines)
            self.insert(inserted)
            if lines:
                moved = inserted == 0 and skip == 0
                skip = self.length("move", signed=True, unit=1) if moved else self.lines(skip)
            self.pos += skip
        self.copy(self.size - len(self.out))
        return bytes(self.out)

    def lines(self, n):
        """The length of the next n lines of old."""
        end = self.pos
        for _ in range(n):
            end = self.old.find(b"\n", end) + 1 or len(self.old)
        return end - self.pos

    def insert(self, left):
        section = self.flags & 4 != 0
        if left and not section:
            self.text.prepare(self.pos)
        while left and len(self.out) < self.size:
            b = next(self.section) if section else self.text.byte()
            self.out.append(b)
            left -= section or self.unit != 0 or b == 10

    def copy(self, n):
        for b in self.old[self.pos:self.pos + n]:
            if self.flags & 2:
                b = b + next(self.dense) & 255
            elif self.flags & 1:
                b = self.sparse(b)
            self.out.append(b)
            self.pos += 1

    def sparse(self, x):
        p = int.from_bytes(self.out[-4:], "big")
        d, m, a = self.near, min(self.near, 4), self.values
        if d == 32:
            if self.quiet is None:
                gap = self.number(("gap", min(self.before.bit_length(), 7)))
                self.quiet = gap - 1 if gap else 1 << 60
            if self.quiet:
                self.quiet -= 1
                return x
            self.quiet = None
        elif not self.mixed("differs", d, 0, [
                d << 8 | min(self.before, 31), d << 8 | x, m << 16 | (p & 255) << 8 | x, m << 16 | p & 0xffff,
                self.recent & 0xffffff, p & 0xffffff ^ m << 24]):
            self.near, self.recent = d + 1, self.recent << 1 & M32
            return x
        u, node = int(d == 0), 1
        for i in range(8):
            node = node << 1 | self.mixed("value", i, node, [
                a & 255 | u << 8, a & 0xffff | u << 16, a & 255 | x << 8 | d << 16, x << 8 | p & 255 | u << 16,
                a & 0xffffff | u << 24, (x ^ p << 8) & M32])
        self.values, self.before, self.near = (a << 8 | node & 255) & M32, d, 0
        self.recent = (self.recent << 1 | 1) & M32
        return x + node & 255

    def t(self, most):
        return max(8, min(self.size.bit_length(), most))

    def mixed(self, kind, weights, node, contexts):
        chosen = []
        for i, c in enumerate(contexts):
            place = h32(c) >> 32 - self.t(16)
            if node:
                place = ((h32(c) ^ node * 0x85ebca6b & M32) * 0xc2b2ae35 & M32) >> 30 - self.t(16)
            chosen.append(self.chosen(kind, i, place))
        bit = self.mix([STRETCH[b.v >> 10] for b in chosen], (kind, weights), 21845)
        for b in chosen:
            b.learn(bit, 250)
        return bit


class Text:
    """Inserted bytes, predicted from old and from what was inserted before."""

    def __init__(self, applier):
        self.a, self.history = applier, bytearray(1)
        self.last = self.older = self.word = self.column = self.line = self.after = 0
        self.found, self.slots = {}, {}
        self.guesses = [(0, 0)] * 3  # match, before, after: a place in the history, bytes it got right
        self.studied = self.study_end = self.scanned = self.scan_end = self.followed = 0

    def remember(self, b):
        self.history.append(b)
        self.older, self.last = (self.older << 8 | self.last >> 24) & 0xffff, (self.last << 8 | b) & M32
        self.word = (self.word + b + 1) * 0x2c1b3c6d & M32 if b >= 128 or bytes([b]).isalnum() else 0
        self.column += 1
        ends = self.column == self.a.unit if self.a.unit > 1 else b == 10
        if ends:
            self.column = 0
        return ends

    def place(self):
        return h32(self.last) >> 32 - self.a.t(16)

    def take(self, start, end, study=False):
        """Remembers old[start:end]; gives where its last two records began."""
        previous, line = 0, len(self.history)
        if self.a.unit > 1:
            self.column = start % self.a.unit
        for b in self.a.old[start:end]:
            for half in range(2 if study else 0):
                counters, node = self.counters(16 + (b >> 4) if half else 1), 1
                for i in range(7 - 4 * half, 3 - 4 * half, -1):
                    for slot in counters:
                        slot[node].learn(b >> i & 1)
                    node = node << 1 | b >> i & 1
            if self.remember(b):
                previous, line = line, len(self.history)
            self.found[self.place()] = len(self.history)
        return previous, line

    def prepare(self, pos):
        large, end = self.a.size >= 2**25, len(self.a.old)
        w = min(8192, ((8192 if large else 16384) - self.studied) // 8)
        start, stop = max(pos - w, self.study_end, 0), min(pos + w, end)
        if w >= 64 and start < stop:
            self.studied, self.study_end = self.studied + stop - start, stop
            self.take(start, stop, study=True)
        if self.followed >= 2**20:
            return
        start, stop = max(min(pos + 160, end), self.scan_end), min(pos + 4096, end)
        if not large and start < stop and self.scanned + stop - start <= 2**20:
            self.scanned, self.scan_end = self.scanned + stop - start, stop
            self.take(start, stop)
        self.after = len(self.history)
        self.take(pos, min(pos + 160, end))
        previous, self.line = self.take(max(pos - 160, 0), pos)
        self.followed += min(pos + 160, end) - max(pos - 160, 0)
        self.guesses = [(0, 0), (previous if self.line == len(self.history) else 0, 0), (self.after, 0)]

    def counters(self, node):
        """For each context the slot that holds its counters."""
        c = [self.last & 0xff, self.last & 0xffff, self.last & 0xffffff, self.last,
             self.older * 0x2c1b3c6d + self.last & M32, self.word, min(self.column, 255)]
        if self.a.unit > 1:
            above, one = self.history[max(0, len(self.history) - self.a.unit)], self.last & 0xff
            c[4:] = self.column << 8 | above, self.column << 8 | one, self.column << 16 | above << 8 | one
        got = []
        for i, x in enumerate(c):
            h = h32(x) ^ node * 0x85ebca6b & M32
            h = (h ^ h >> 15) * 0xc2b2ae35 & M32
            key, check = (i, h >> 32 - (13 if self.a.size >= 2**25 else self.a.t(15))), h & 0xffff
            if key not in self.slots or self.slots[key][0] != check:
                self.slots[key] = check, defaultdict(Counter)
            got.append(self.slots[key][1])
        return got

    def byte(self):
        at, g = self.guesses[0]
        if g >= 16:
            if self.a.adaptive("sure", g, limit=255):
                return self.seen(self.history[at])
            self.guesses[0] = (0, 0)
        (match, g), (before, _), (after, _) = self.guesses
        weights = 3 if g >= 8 else 2 if match else 1 if before or after else 0
        counters, node, low = self.counters(1), 1, 1
        for i in range(7, -1, -1):
            if i == 3:
                counters, low = self.counters(node), 1
            inputs, right, expects, most = [STRETCH[s[low].c] for s in counters], [], [None] * 3, 0
            for j, (at, g) in enumerate(self.guesses):
                there = self.history[at] | 256 if 0 < at < len(self.history) else 0
                if there >> i + 1 != node:
                    inputs.append(0)
                    continue
                e = expects[j] = there >> i & 1
                right.append((self.a.chosen("right", j, e, min(g, 15)), e))
                inputs.append(STRETCH[right[-1][0].v >> 10] * (2 * e - 1))
                most = max(most, min(g, 15) if j else 0)
            between = self.a.chosen("between", expects[1], expects[2], most)
            bit = self.a.mix(inputs + [STRETCH[between.v >> 10], 256], ("text", weights), 15000)
            for s in counters:
                s[low].learn(bit)
            between.learn(bit, 255)
            for b, e in right:
                b.learn(bit == e, 255)
            node, low = node << 1 | bit, low << 1 | bit
        return self.seen(node & 255)

    def seen(self, b):
        self.guesses = [(at + 1, min(g + 1, 31)) if 0 < at < len(self.history) and self.history[at] == b else (0, 0)
                        for at, g in self.guesses]
        if self.remember(b):
            self.guesses[1:] = (self.line, 0), (self.after, 0)
            self.line = len(self.history)
        if not self.guesses[0][0]:
            self.guesses[0] = self.found.get(self.place(), 0), 0
        self.found[self.place()] = len(self.history)
        return b


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    with open(sys.argv[1], "rb") as old, open(sys.argv[2], "rb") as delta:
        sys.stdout.buffer.write(Applier(old.read(), delta.read(), int(sys.argv[3])).apply())
