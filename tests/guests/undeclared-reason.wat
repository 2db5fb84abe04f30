;; Gives `test:guest`, its name, as a reason.
;;@evaluate
(func (export "keyward:policy/decide@0.1.0#evaluate") (result i32)
  (drop (call $allow))
  (call $put (i32.const 2572) (i32.const 1024) (i32.const 10))
  (i32.const 2560))
;;@end
