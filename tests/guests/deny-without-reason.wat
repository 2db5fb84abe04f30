;; Denies and does not say why.
;;@evaluate
(func (export "keyward:policy/decide@0.1.0#evaluate") (result i32)
  (drop (call $allow))
  (i32.store8 (i32.const 2564) (i32.const 2))
  (i32.store8 (i32.const 2568) (i32.const 0))
  (i32.const 2560))
;;@end
