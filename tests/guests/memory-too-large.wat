;; Wants a gigabyte to begin with.
;;@memory
(memory (export "memory") 16384)
;;@end
