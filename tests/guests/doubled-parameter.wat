;; Gives one parameter twice, so that two readers may see two values.
;;@evaluate
(func (export "keyward:policy/decide@0.1.0#evaluate") (result i32)
  (drop (call $allow))
  (call $put (i32.const 2580) (i32.const 3000) (i32.const 2))
  (call $put (i32.const 3000) (i32.const 1046) (i32.const 5))
  (call $put (i32.const 3008) (i32.const 1046) (i32.const 5))
  (call $put (i32.const 3016) (i32.const 1046) (i32.const 5))
  (call $put (i32.const 3024) (i32.const 1057) (i32.const 5))
  (i32.const 2560))
;;@end
