;; A reason that is no text.
;;@evaluate
(func (export "keyward:policy/decide@0.1.0#evaluate") (result i32)
  (drop (call $allow))
  (i32.store (i32.const 3000) (i32.const 0xffffffff))
  (call $put (i32.const 2572) (i32.const 3000) (i32.const 4))
  (i32.const 2560))
;;@end
