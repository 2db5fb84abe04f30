;; Counts its calls in a global and in memory, and denies from the second on: which would need an
;; instance that lives longer than one call.
;;@imports
(global $calls (mut i32) (i32.const 0))
;;@end
;;@evaluate
(func (export "keyward:policy/decide@0.1.0#evaluate") (result i32)
  (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
  (i32.store (i32.const 3500) (i32.add (i32.load (i32.const 3500)) (i32.const 1)))
  (if (i32.or
        (i32.gt_u (global.get $calls) (i32.const 1))
        (i32.gt_u (i32.load (i32.const 3500)) (i32.const 1)))
    (then (unreachable)))
  (call $allow))
;;@end
