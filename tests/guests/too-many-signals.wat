;; Nine signals, one more than its budget; each is declared.
;;@describe
(func (export "keyward:policy/decide@0.1.0#describe") (result i32)
  (call $put (i32.const 2048) (i32.const 1024) (i32.const 10))
  (call $put (i32.const 2056) (i32.const 1034) (i32.const 5))
  (call $put (i32.const 2064) (i32.const 1039) (i32.const 7))
  (call $put (i32.const 2072) (i32.const 0) (i32.const 0))
  (call $put (i32.const 2080) (i32.const 2112) (i32.const 1))
  (call $put (i32.const 2112) (i32.const 1046) (i32.const 11))
  (call $put (i32.const 2120) (i32.const 0) (i32.const 0))
  (call $put (i32.const 2128) (i32.const 0) (i32.const 0))
  (call $put (i32.const 2088) (i32.const 2200) (i32.const 1))
  (call $put (i32.const 2200) (i32.const 1067) (i32.const 12))
  (call $put (i32.const 2096) (i32.const 0) (i32.const 0))
  (call $put (i32.const 2104) (i32.const 0) (i32.const 0))
  (i32.const 2048))
;;@end
;;@evaluate
(func (export "keyward:policy/decide@0.1.0#evaluate") (result i32)
  (local $i i32)
  (drop (call $allow))
  (call $put (i32.const 2588) (i32.const 3000) (i32.const 9))
  (loop $next
    (call $put
      (i32.add (i32.const 3000) (i32.mul (local.get $i) (i32.const 16)))
      (i32.const 1067) (i32.const 12))
    (local.set $i (i32.add (local.get $i) (i32.const 1)))
    (br_if $next (i32.lt_u (local.get $i) (i32.const 9))))
  (i32.const 2560))
;;@end
