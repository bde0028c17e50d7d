;; Floating point: steps of z = z^2 + c until |z| > 2, at most 100, summed over n by n points of
;; the Mandelbrot set's square, rounded to a grid of 1/1024.
(module
  (func $grid (param $i i32) (param $n i32) (param $from f64) (param $width f64) (result f64)
    (f64.div
      (f64.floor (f64.mul (f64.const 1024) (f64.add (local.get $from)
        (f64.div (f64.mul (local.get $width) (f64.convert_i32_u (local.get $i)))
                 (f64.convert_i32_u (local.get $n))))))
      (f64.const 1024)))
  (func (export "run") (param $n i32) (result i64)
    (local $i i32) (local $j i32) (local $k i32) (local $sum i64)
    (local $a f64) (local $b f64) (local $x f64) (local $y f64) (local $xx f64) (local $yy f64)
    (block $done
      (loop $rows
        (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
        (local.set $b (call $grid (local.get $i) (local.get $n) (f64.const -1.25) (f64.const 2.5)))
        (local.set $j (i32.const 0))
        (loop $points
          (local.set $a (call $grid (local.get $j) (local.get $n) (f64.const -2) (f64.const 2.5)))
          (local.set $x (f64.const 0))
          (local.set $y (f64.const 0))
          (local.set $k (i32.const 0))
          (block $out
            (loop $step
              (local.set $xx (f64.mul (local.get $x) (local.get $x)))
              (local.set $yy (f64.mul (local.get $y) (local.get $y)))
              (br_if $out (f64.gt (f64.add (local.get $xx) (local.get $yy)) (f64.const 4)))
              (local.set $y (f64.add (local.get $b)
                (f64.mul (f64.const 2) (f64.mul (local.get $x) (local.get $y)))))
              (local.set $x (f64.add (local.get $a) (f64.sub (local.get $xx) (local.get $yy))))
              (local.set $k (i32.add (local.get $k) (i32.const 1)))
              (br_if $step (i32.lt_u (local.get $k) (i32.const 100)))))
          (local.set $sum (i64.add (local.get $sum) (i64.extend_i32_u (local.get $k))))
          (local.set $j (i32.add (local.get $j) (i32.const 1)))
          (br_if $points (i32.lt_u (local.get $j) (local.get $n))))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $rows)))
    (local.get $sum)))
