;; Says that it cannot decide.
;;@evaluate
(func (export "keyward:policy/decide@0.1.0#evaluate") (result i32)
  (i32.store8 (i32.const 2560) (i32.const 1))
  (call $put (i32.const 2564) (i32.const 1057) (i32.const 10))
  (call $put (i32.const 2572) (i32.const 0) (i32.const 0))
  (i32.const 2560))
;;@end
