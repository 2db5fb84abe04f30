;; An effect that does not exist.
;;@evaluate
(func (export "keyward:policy/decide@0.1.0#evaluate") (result i32)
  (drop (call $allow))
  (i32.store8 (i32.const 2564) (i32.const 77))
  (i32.const 2560))
;;@end
