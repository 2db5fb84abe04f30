;; Nothing replaced: the well-behaved guest that the others differ from.
