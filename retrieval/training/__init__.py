"""How place recognition is trained: recipes, mining, rounds of triplets, the best kept."""
