"""Board games for one agent against an opponent, over OpenSpiel's rules.

rules      what a game is: its pyspiel game, its planes, its points
opponents  who plays the other colour
game       the Gymnasium environments Go and Hex
pictures   the boards as RGB images
"""
