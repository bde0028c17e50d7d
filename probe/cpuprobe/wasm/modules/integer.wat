;; Integers: the primes below n, at most 500,000, by a sieve of bits in 64-bit words.
;; Result: their number, times 2^32, plus the sum of them all modulo 2^32.
(module
  (memory 1)
  (func (export "run") (param $n i32) (result i64)
    (local $p i32) (local $m i32) (local $at i32) (local $word i64)
    (local $count i32) (local $sum i32)
    (if (i32.or (i32.lt_u (local.get $n) (i32.const 2))
                (i32.gt_u (local.get $n) (i32.const 500000)))
      (then (unreachable)))
    ;; A set bit is a composite number; so are 0, 1 and all from n on.
    (memory.fill (i32.const 0) (i32.const 0) (i32.const 65536))
    (i64.store (i32.const 0) (i64.const 3))
    (local.set $p (i32.const 2))
    (block $sieved
      (loop $next
        (br_if $sieved (i32.ge_u (i32.mul (local.get $p) (local.get $p)) (local.get $n)))
        (local.set $m (i32.mul (local.get $p) (local.get $p)))
        (loop $mark
          (local.set $at (i32.shl (i32.shr_u (local.get $m) (i32.const 6)) (i32.const 3)))
          (i64.store (local.get $at) (i64.or (i64.load (local.get $at))
            (i64.shl (i64.const 1) (i64.extend_i32_u (local.get $m)))))
          (local.set $m (i32.add (local.get $m) (local.get $p)))
          (br_if $mark (i32.lt_u (local.get $m) (local.get $n))))
        (local.set $p (i32.add (local.get $p) (i32.const 1)))
        (loop $composite
          (if (i32.wrap_i64 (i64.and (i64.const 1) (i64.shr_u
                (i64.load (i32.shl (i32.shr_u (local.get $p) (i32.const 6)) (i32.const 3)))
                (i64.extend_i32_u (local.get $p)))))
            (then (local.set $p (i32.add (local.get $p) (i32.const 1))) (br $composite))))
        (br $next)))
    (local.set $m (i32.const 0))
    (loop $words
      (local.set $word (i64.xor (i64.const -1) (i64.load (i32.shr_u (local.get $m) (i32.const 3)))))
      (if (i32.gt_u (i32.add (local.get $m) (i32.const 64)) (local.get $n))
        (then (local.set $word (i64.and (local.get $word)
          (i64.sub (i64.shl (i64.const 1) (i64.extend_i32_u (local.get $n))) (i64.const 1))))))
      (local.set $count
        (i32.add (local.get $count) (i32.wrap_i64 (i64.popcnt (local.get $word)))))
      (block $empty
        (loop $bits
          (br_if $empty (i64.eqz (local.get $word)))
          (local.set $sum (i32.add (local.get $sum)
            (i32.add (local.get $m) (i32.wrap_i64 (i64.ctz (local.get $word))))))
          (local.set $word (i64.and (local.get $word) (i64.sub (local.get $word) (i64.const 1))))
          (br $bits)))
      (local.set $m (i32.add (local.get $m) (i32.const 64)))
      (br_if $words (i32.lt_u (local.get $m) (local.get $n))))
    (i64.or (i64.shl (i64.extend_i32_u (local.get $count)) (i64.const 32))
      (i64.extend_i32_u (local.get $sum)))))
