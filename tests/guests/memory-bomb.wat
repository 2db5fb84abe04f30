;; Takes page after page and does not look at the answer.
;;@evaluate
(func (export "keyward:policy/decide@0.1.0#evaluate") (result i32)
  (loop $again
    (drop (memory.grow (i32.const 1)))
    (br $again))
  (unreachable))
;;@end
