;; SIMD: Hamming distance and 16-bit dot product of two vectors of 16 KiB, n times over.
(module
  (memory 1)
  (func $fill (local $i i32) (local $x i32)
    (local.set $x (i32.const 12345))
    (loop $next
      ;; x = x * 1664525 + 1013904223 (Numerical Recipes, section 7.1)
      (local.set $x (i32.add (i32.mul (local.get $x) (i32.const 1664525)) (i32.const 1013904223)))
      (i32.store (local.get $i) (local.get $x))
      (local.set $i (i32.add (local.get $i) (i32.const 4)))
      (br_if $next (i32.lt_u (local.get $i) (i32.const 32768)))))
  (start $fill)
  (func (export "run") (param $n i32) (result i64)
    (local $i i32) (local $a v128) (local $b v128) (local $dot v128) (local $bits v128)
    (block $done
      (loop $again
        (br_if $done (i32.eqz (local.get $n)))
        (local.set $n (i32.sub (local.get $n) (i32.const 1)))
        (local.set $i (i32.const 0))
        (loop $next
          (local.set $a (v128.load (local.get $i)))
          (local.set $b (v128.load offset=16384 (local.get $i)))
          (local.set $dot (i32x4.add (local.get $dot)
            (i32x4.dot_i16x8_s (local.get $a) (local.get $b))))
          (local.set $bits (i32x4.add (local.get $bits)
            (i32x4.extadd_pairwise_i16x8_u (i16x8.extadd_pairwise_i8x16_u
              (i8x16.popcnt (v128.xor (local.get $a) (local.get $b)))))))
          (local.set $i (i32.add (local.get $i) (i32.const 16)))
          (br_if $next (i32.lt_u (local.get $i) (i32.const 16384))))
        (br $again)))
    (i64.or
      (i64.shl (i64.extend_i32_u (i32.add
        (i32.add (i32x4.extract_lane 0 (local.get $bits)) (i32x4.extract_lane 1 (local.get $bits)))
        (i32.add (i32x4.extract_lane 2 (local.get $bits)) (i32x4.extract_lane 3 (local.get $bits)))))
        (i64.const 32))
      (i64.extend_i32_u (i32.add
        (i32.add (i32x4.extract_lane 0 (local.get $dot)) (i32x4.extract_lane 1 (local.get $dot)))
        (i32.add (i32x4.extract_lane 2 (local.get $dot)) (i32x4.extract_lane 3 (local.get $dot))))))))
